"""The user's own networks: a class in a Python file, or a module in memory."""

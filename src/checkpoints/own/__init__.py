"""Networks of a person's own: a class in a Python file, or a module that is in memory."""

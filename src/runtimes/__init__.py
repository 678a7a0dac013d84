"""What runs the graphs of a stored network, and which one of them does."""

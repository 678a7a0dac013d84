"""The model store: the manifest of a stored network, and its files."""

"""The runtimes that run the graphs of a stored network, and the choice between them."""

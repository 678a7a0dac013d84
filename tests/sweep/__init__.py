"""Compare every architecture, from its code to the served answer, with the original network."""

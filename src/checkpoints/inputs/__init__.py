"""How images are prepared for a network, as far as that is known."""

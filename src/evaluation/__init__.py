"""Check a model on labeled images, through the whole pipeline."""

"""A folder of images per class -> batches that a classifier learns from."""

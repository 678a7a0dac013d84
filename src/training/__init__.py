"""A folder of photos per class -> batches that a classifier learns from."""

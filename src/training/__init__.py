"""Train a classifier on a folder of images per class, or on a CSV of labels."""

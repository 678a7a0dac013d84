"""A labelled folder of images through the whole path: how right the answers are."""

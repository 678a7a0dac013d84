"""A labelled folder of pictures through the whole path: how right the answers are."""

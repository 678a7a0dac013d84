"""Checkpoint files and folders -> tensors and plain values; nothing that they name is imported or called."""

"""Checkpoints -> a network with its weights, labels and input; no code in a file runs unless asked for."""

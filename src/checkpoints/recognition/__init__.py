"""Tensors under any names -> the network that they belong to, or a question to the user: never a silent guess."""

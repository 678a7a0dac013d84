"""Tensors under any names -> the network that they make up, or a question: never a guess without a word."""

"""Folders of timm or transformers in the layout of the Hugging Face hub -> a network, its labels and its input."""

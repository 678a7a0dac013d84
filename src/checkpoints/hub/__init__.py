"""Folders as the Hugging Face hub has them, of timm or transformers -> a network, its labels and its input."""

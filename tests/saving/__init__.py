"""Tests of the model card of save_model.py."""

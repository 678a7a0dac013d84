"""Tests of the options and the model card of save_model.py."""

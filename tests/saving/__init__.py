"""Tests of what save_model.py asks and says."""

"""Tests of src/checkpoints/reading."""

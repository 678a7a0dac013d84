"""Tests of src/checkpoints/recognition."""

"""Tests of src/checkpoints/own."""

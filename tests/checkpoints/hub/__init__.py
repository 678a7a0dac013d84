"""Tests of src/checkpoints/hub."""

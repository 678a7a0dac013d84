"""Tests of src/checkpoints/inputs."""

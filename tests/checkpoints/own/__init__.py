"""Tests of reading trained checkpoints."""

"""Tests of checking a model on labeled images."""

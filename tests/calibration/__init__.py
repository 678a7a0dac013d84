"""Tests of what a model learns of its answers."""

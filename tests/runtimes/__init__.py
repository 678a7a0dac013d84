"""Tests of what runs a stored network."""

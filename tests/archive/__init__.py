"""Tests of :mod:`src.archive`."""

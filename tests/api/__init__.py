"""Tests of src/api."""

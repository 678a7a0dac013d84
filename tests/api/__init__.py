"""Tests of the rooms of src/api."""

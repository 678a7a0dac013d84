"""Tests of the rooms of src/model."""

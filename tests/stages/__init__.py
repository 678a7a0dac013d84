"""Tests of the rooms of src/stages."""

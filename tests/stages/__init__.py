"""Tests of src/stages."""

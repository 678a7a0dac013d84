"""Tests of src/stages/decode."""

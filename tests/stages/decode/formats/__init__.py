"""Tests of src/stages/decode/formats."""

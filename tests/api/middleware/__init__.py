"""Tests of src/api/middleware."""

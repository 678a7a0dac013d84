"""Tests of reading what people have trained."""

"""Tests of a labelled folder through the whole path."""

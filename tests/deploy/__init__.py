"""Tests of deploy/ that need no container engine."""

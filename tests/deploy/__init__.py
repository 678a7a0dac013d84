"""Tests of what is in deploy/, as far as they need no container engine."""

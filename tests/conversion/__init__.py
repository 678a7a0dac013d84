"""Tests of capturing, cutting and converting networks."""

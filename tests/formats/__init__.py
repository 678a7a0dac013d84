"""Tests of the containers of pictures."""

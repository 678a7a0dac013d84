"""Tests of the service under overload, and with many mixed requests."""

"""Tests of src/api/telemetry."""

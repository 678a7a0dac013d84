"""How fast the service is, beside other ways to serve the same network: ``python -m tests.benchmarks``."""

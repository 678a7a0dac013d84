"""Compare the service's speed with other ways to serve the same network: ``python -m tests.benchmarks``."""

"""The HTTP API: validation of requests, responses, and one format for every error."""

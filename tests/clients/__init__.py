"""Clients of the service: generated from its OpenAPI document, and a browser behind a proxy."""

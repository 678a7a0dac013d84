"""The addresses of the service."""

from typing import Final

__all__ = ["METRICS", "PAGES", "PROBES", "RECOGNITION", "ROUTES"]

RECOGNITION: Final = ("/image_recognition", "/image_recognition_file", "/image_recognition_batch")
PROBES: Final = ("/livez", "/readyz", "/healthz")
METRICS: Final = "/metrics"
# What a browser needs to show the pages, and nothing else; an address with a slash at its end stands for all below it.
PAGES: Final = ("/", "/docs", "/docs.json", "/docs/", "/samples/")
ROUTES: Final = (*RECOGNITION, "/model", *PROBES, METRICS, "/", "/docs", "/docs.json")

"""The paths of the service."""

from typing import Final

__all__ = ["METRICS", "PAGES", "PROBES", "RECOGNITION", "ROUTES"]

RECOGNITION: Final = ("/image_recognition", "/image_recognition_file", "/image_recognition_batch")
PROBES: Final = ("/livez", "/readyz", "/healthz")
METRICS: Final = "/metrics"
# All that a browser needs to show the pages; a path that ends in a slash includes everything below it.
PAGES: Final = ("/", "/docs", "/docs.json", "/docs/", "/samples/")
ROUTES: Final = (*RECOGNITION, "/model", *PROBES, METRICS, "/", "/docs", "/docs.json")

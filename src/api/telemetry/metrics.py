"""The metrics of the service, for Prometheus."""

from functools import partial
from http import HTTPStatus
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    values,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector

from src.api.concurrency import Concurrency
from src.api.routes import RECOGNITION, ROUTES
from src.api.schemas.model import ModelResponse
from src.errors import Busy
from src.progress import Stage

__all__ = ["CONTENT_TYPE", "Metrics"]

# BentoML makes prometheus_client keep its values in files that several workers share. Here there is only one worker,
# and a write to such a file would kill it when the disk is full.
values.ValueClass = values.MutexValue
disable_created_metrics()  # type: ignore[no-untyped-call] # half as many series

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_STAGE_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_MEGAPIXELS: Final = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_OTHER: Final = "other"


class Metrics:
    """The metrics of one service; each of its routes is counted separately, all other paths together."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        counter = partial(Counter, registry=self._registry)
        histogram = partial(Histogram, registry=self._registry)
        self._routes = frozenset(ROUTES)
        self._requests = counter("image_recognition_requests", "Requests that were answered.", ("route", "status"))
        self._rejected = counter(
            "image_recognition_rejected", "Refused requests and images of batches, by error code.", ("reason",)
        )
        self._request_seconds = histogram(
            "image_recognition_request_seconds",
            "Time from the head of a request to the end of its response.",
            ("route",),
            buckets=_SECONDS,
        )
        self.queue_seconds = histogram(
            "image_recognition_queue_seconds", "Time that work waited for a thread.", buckets=_SECONDS
        )
        stages = histogram(
            "image_recognition_stage_seconds",
            "Time of each stage of a recognition.",
            ("stage",),
            buckets=_STAGE_SECONDS,
        )
        self.stage_seconds = {stage: stages.labels(stage.value) for stage in Stage}
        self.megapixels = histogram(
            "image_recognition_decoded_megapixels", "Size of the recognized images.", buckets=_MEGAPIXELS
        )
        self.in_flight = Gauge(
            "image_recognition_requests_in_flight", "Requests that have not been answered yet.", registry=self._registry
        )
        self._busy = self._rejected.labels(Busy.code)
        self._turned_away = {
            route: self._requests.labels(route, HTTPStatus.TOO_MANY_REQUESTS.value) for route in RECOGNITION
        }
        self._rejected.labels("internal")  # a rate needs the initial zero
        for route in self._routes:
            self._requests.labels(route, HTTPStatus.OK.value)

    def show_concurrency(self, concurrency: Concurrency) -> None:
        """Publish how many images wait and how many are being processed."""
        shown = {
            "queue_length": ("Images waiting for a thread.", lambda: concurrency.waiting),
            "queue_limit": ("Maximum number of waiting images.", lambda: concurrency.max_queue),
            "waiting_bytes": ("Bytes of request bodies in memory.", lambda: concurrency.bytes.held),
            "waiting_bytes_limit": ("Maximum bytes of request bodies in memory.", lambda: concurrency.bytes.limit),
            "in_work": ("Images being processed.", lambda: concurrency.working),
            "threads": ("Maximum number of images being processed.", lambda: concurrency.threads),
        }
        for name, (description, figure) in shown.items():
            Gauge(f"image_recognition_{name}", description, registry=self._registry).set_function(figure)

    def show_model(self, model: ModelResponse) -> None:
        """Publish which model is served, and how it runs."""
        fields = ("model", "architecture", "runtime", "precision", "device")
        info = Info("image_recognition_model", "The served model, and how it runs.", registry=self._registry)
        info.info({name: str(getattr(model, name)) for name in fields} | {"output": model.output.kind})

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a response with ``status`` to a request for ``path``, ``seconds`` after its head arrived."""
        route = path if path in self._routes else _OTHER
        self._requests.labels(route, status).inc()
        self._request_seconds.labels(route).observe(seconds)

    def rejected(self, code: str) -> None:
        """Count a refusal with the error ``code``."""
        self._rejected.labels(code).inc()

    def unreadable(self, status: int, code: str) -> None:
        """Count bytes that are not a request, refused with ``status`` and the error ``code``."""
        self._requests.labels(_OTHER, int(status)).inc()
        self.rejected(code)

    def turned_away(self, path: str) -> None:
        """Count a recognition request for ``path`` that was refused before any work was done for it."""
        self._turned_away[path].inc()
        self._busy.inc()

    def page(self) -> bytes:
        """Return all metrics in Prometheus text format."""
        return generate_latest(self._registry)

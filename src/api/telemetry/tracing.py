"""OpenTelemetry spans, one per request with one child per stage, if an endpoint to send them to is set."""

import logging
import os
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from src.progress import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span, Tracer

__all__ = ["Trace", "start_tracing"]

logger = logging.getLogger(__name__)

_SERVICE: Final = "image_recognition"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTER: Final = "opentelemetry.exporter"  # from the extra 'tracing'; BentoML installs the rest of OpenTelemetry


class Trace:
    """The span of one request, a child of the caller's if the headers name one; safe to use from several threads."""

    def __init__(self, tracer: "Tracer", name: str, headers: "Mapping[str, str]") -> None:
        from opentelemetry.propagate import extract  # noqa: PLC0415 - only needed for tracing
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415

        self._tracer = tracer
        self._span: Span = tracer.start_span(name, extract(headers), kind=SpanKind.SERVER)
        self._context = set_span_in_context(self._span)

    def ended(self, stage: Stage, seconds: float) -> None:
        """Add the span of a stage that ends now and took ``seconds``."""
        now = time.time_ns()
        span = self._tracer.start_span(stage.value, self._context, start_time=now - round(1e9 * seconds))
        span.end(now)

    def end(self) -> None:
        """End the span of the request."""
        self._span.end()


def start_tracing() -> "Tracer | None":
    """Return a tracer that sends spans to ``OTEL_EXPORTER_OTLP_ENDPOINT``; None if that is not set."""
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return None
    if find_spec(_EXPORTER) is None:
        logger.warning(
            "%s is set, but no spans are sent: install opentelemetry-exporter-otlp-proto-http.", _ENDPOINTS[1]
        )
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = os.environ.get("OTEL_SERVICE_NAME", _SERVICE)
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer(_SERVICE)

"""Spans of OpenTelemetry."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.requests import Request

from src.api.telemetry.metrics import Metrics
from src.api.telemetry.observation import Observation
from src.api.telemetry.tracing import start_tracing
from src.options import Options
from src.progress import Stage
from tests.places import PACKAGED_PHOTOS, ROOT
from tests.test_pipeline import red_pipeline

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_request_has_a_span_with_a_child_per_stage() -> None:
    """The span of the request is a child of the caller's, and the spans of the stages are its children, in order."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    headers = [(b"traceparent", f"00-{CALLER}-00f067aa0ba902b7-01".encode())]
    scope = {"type": "http", "method": "POST", "path": "/image_recognition", "headers": headers, "query_string": b""}
    observation = Observation(Request(scope), Metrics(), provider.get_tracer("test"))
    red_pipeline().recognize(PACKAGED_PHOTOS[0].read_bytes(), Options(), observation)
    observation.abandon()
    *stages, whole = spans.get_finished_spans()
    assert [span.name for span in stages] == [stage.value for stage in Stage]
    assert whole.name == "POST /image_recognition"
    assert {format(span.context.trace_id, "032x") for span in (*stages, whole)} == {CALLER}
    assert {span.parent.span_id for span in stages if span.parent} == {whole.context.span_id}
    times = [time for span in stages for time in (span.start_time, span.end_time)]
    assert None not in times
    assert times == sorted(times, key=lambda time: time or 0)


def test_nothing_is_traced_without_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no tracer without an endpoint."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert start_tracing() is None


def test_an_endpoint_enables_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the extra is installed and an endpoint is set, spans are recorded."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    tracer = start_tracing()
    assert tracer is not None
    assert tracer.start_span("x").is_recording()


def test_a_missing_exporter_is_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An endpoint without the extra is logged and is not an error."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("src.api.telemetry.tracing.find_spec", lambda _: None)
    assert start_tracing() is None
    assert "install opentelemetry-exporter-otlp-proto-http" in caplog.text


def test_untraced_requests_do_not_import_opentelemetry() -> None:
    """Observing requests without a tracer does not import OpenTelemetry."""
    code = (
        "import sys; from src.api.telemetry import observation, tracing; tracing.start_tracing(); print(*sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "src.api.telemetry.observation" in shown
    assert "opentelemetry" not in shown

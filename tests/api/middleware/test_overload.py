"""Refusing by the head of a request."""

import asyncio
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse

from src.api.concurrency import Concurrency
from src.api.errors import error_response
from src.api.middleware.overload import Overload
from src.api.schemas.answers import ErrorResponse
from src.api.telemetry.metrics import Metrics
from src.errors import Busy


def answers(concurrency: Concurrency, metrics: Metrics, *asked: tuple[str, str]) -> list[httpx.Response]:
    """Return what comes back through the middleware, behind which all is well."""
    app: Any = Overload(PlainTextResponse("fine"), error_response(Busy("busy")), concurrency, metrics)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [await client.request(method, path) for method, path in asked]

    return asyncio.run(ask())


def test_a_full_queue_refuses_images_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """While the queue is full, images are refused with Retry-After; probes and pages are not refused."""
    concurrency, metrics = Concurrency(1, 1), Metrics()
    asked = [("POST", "/image_recognition"), ("POST", "/image_recognition_batch"), ("GET", "/livez"), ("GET", "/")]
    asked += [("OPTIONS", "/image_recognition")]
    with ExitStack() as places:
        for _ in range(2):
            places.enter_context(concurrency.places.lease(1))
        refused = answers(concurrency, metrics, *asked)
    assert [response.status_code for response in refused] == [429, 429, 200, 200, 200]
    assert ErrorResponse.model_validate_json(refused[0].content).error.code == "busy"
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].headers["content-type"] == "application/json"
    assert [response.status_code for response in answers(concurrency, metrics, *asked)] == [200] * 5
    counted = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }
    assert counted["image_recognition_requests_total", "/image_recognition", "429"] == 1
    assert counted["image_recognition_rejected_total", "busy"] == 2
    assert len(caplog.records) == 1


def test_many_refusals_are_logged_in_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand refusals at the same time do not log a thousand lines."""
    concurrency = Concurrency(1, 0)
    with concurrency.places.lease(1):
        answers(concurrency, Metrics(), *[("POST", "/image_recognition")] * 1000)
    assert 1 <= len(caplog.records) <= 10

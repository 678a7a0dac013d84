"""Refusing by the head of a request."""

import asyncio
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse

from src.api.concurrency import Concurrency
from src.api.middleware.overload import Busyness, Overload
from src.api.schemas import ErrorResponse
from src.api.telemetry.metrics import Metrics


def answers(concurrency: Concurrency, metrics: Metrics, *asked: tuple[str, str]) -> list[httpx.Response]:
    """Return what comes back through the middleware, behind which all is well."""
    app: Any = Overload(PlainTextResponse("fine"), Busyness(), concurrency, metrics)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [await client.request(method, path) for method, path in asked]

    return asyncio.run(ask())


def test_a_full_queue_refuses_pictures_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """While as many wait as may, pictures are refused, with when to come again; probes and pages are not."""
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


def test_many_refusals_are_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand refusals at once do not write a thousand lines."""
    concurrency = Concurrency(1, 0)
    with concurrency.places.lease(1):
        answers(concurrency, Metrics(), *[("POST", "/image_recognition")] * 1000)
    assert 1 <= len(caplog.records) <= 10


def test_a_refusal_is_sent_as_it_is_by_the_connection() -> None:
    """What the connection sends for what there is no room for is the same answer; whatever needs a look gets none."""
    concurrency = Concurrency(1, 0)
    app = Overload(PlainTextResponse("fine"), Busyness(), concurrency, Metrics())
    plain = [(b"host", b"x"), (b"content-length", b"2")]
    with concurrency.places.lease(1):
        refusal = app.refusal(b"POST", b"/image_recognition", plain)
        assert refusal is not None
        assert app.refusal(b"GET", b"/image_recognition", plain) is None
        assert app.refusal(b"POST", b"/model", plain) is None
        assert app.refusal(b"POST", b"/image_recognition", [*plain, (b"origin", b"https://example.org")]) is None
    head, _, body = refusal.partition(b"\r\n\r\n")
    (same,) = _while_full(app, concurrency)
    assert body == same.content
    assert head.splitlines()[0] == b"HTTP/1.1 429 Too Many Requests"
    assert dict(line.split(": ", 1) for line in head.decode().splitlines()[1:]) == dict(same.headers)


def test_what_is_let_in_counts_once() -> None:
    """Heads that come together fill the places that are left; once their requests hold them, no other place is lost."""
    concurrency = Concurrency(2, 2)
    app = Overload(PlainTextResponse("fine"), Busyness(), concurrency, Metrics())

    async def come(count: int) -> list[bool]:
        refused = [app.refusal(b"POST", b"/image_recognition", []) is not None for _ in range(count)]
        await asyncio.sleep(0)
        return refused

    async def come_and_hold() -> tuple[list[bool], list[bool]]:
        first = await come(2)
        with concurrency.places.lease(2):
            return first, await come(3)

    assert asyncio.run(come_and_hold()) == ([False, False], [False, False, True])


def _while_full(app: Any, concurrency: Concurrency) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
            return [await client.post("/image_recognition")]

    with concurrency.places.lease(1):
        return asyncio.run(ask())

"""What the routes do for clients that leave, deadlines that pass, and bodies that are meant to hurt."""

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from src.api.endpoints import Endpoints
from src.api.errors import respond
from src.api.schemas.answers import ErrorResponse
from src.api.schemas.model import ModelResponse
from src.progress import Abandoned, Progress, Stage
from src.settings import Settings
from src.stages.input_spec import InputSpec
from tests.places import PACKAGED_PHOTOS
from tests.test_pipeline import red_pipeline
from tests.test_service import b64

MODEL = ModelResponse(
    model="test:1",
    architecture="test/slow",
    labels=("bus", "car"),
    input=InputSpec(resize=256, crop=(224, 224), interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)),
    layer="layer",
    runtime="none",
    precision="fp32",
    device="cpu",
    check=None,
)
CAT = PACKAGED_PHOTOS[0].read_bytes()
BODY = f'{{"img": "{b64(CAT)}"}}'.encode()


class Slow:
    """Stands for a pipeline whose stages take their time; notes those that started."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.started: list[Stage] = []

    def recognize(self, data: bytes, options: Any, progress: Progress) -> Any:  # noqa: ARG002 - as the pipeline has it
        """Take time in every stage."""
        for stage in Stage:
            with progress.stage(stage):
                self.started.append(stage)
                time.sleep(self.seconds)
        raise RuntimeError("no answer was to be made")


def endpoints(pipeline: Any, timeout: float = 30.0, max_queue: int = 9) -> Endpoints:
    """Return the routes around ``pipeline``, with one thread and so many places behind it."""
    made = Endpoints(Settings(timeout=timeout, threads=1, max_queue=max_queue))
    made.serve(pipeline, MODEL)
    return made


def answered(endpoint: Callable[[Request], Awaitable[Response]], asked: Request) -> Response:
    """Return the answer of ``endpoint``, or that of the exception handler to what it raised."""
    return asyncio.run(answer_of(endpoint, asked))


async def answer_of(endpoint: Callable[[Request], Awaitable[Response]], asked: Request) -> Response:
    """Return the answer of ``endpoint``, or that of the exception handler to what it raised."""
    try:
        return await endpoint(asked)
    except Exception as exc:  # noqa: BLE001 - as the application does it
        return await respond(asked, exc)


def batch_of(count: int) -> bytes:
    """Return the JSON of a batch of so many images."""
    return json.dumps({"imgs": [b64(CAT)] * count}).encode()


def request(body: bytes, gone_after: float = 3600.0) -> Request:
    """Return a request with ``body`` whose client hangs up after so many seconds."""
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await asyncio.sleep(gone_after)
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"application/json")]
    return Request({"type": "http", "method": "POST", "path": "/x", "headers": headers, "query_string": b""}, receive)


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as ``condition`` holds."""
    while not condition():  # noqa: ASYNC110 - what is looked at has no event
        await asyncio.sleep(0.001)


def code(response: Response) -> str:
    """Return the code of the error object."""
    return ErrorResponse.model_validate_json(bytes(response.body)).error.code


def test_a_batch_returns_images_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that makes the answer too large becomes an error that says what to do; the others are answered."""
    size = len(json.loads(bytes(answered(endpoints(red_pipeline()).json, request(BODY)).body))["gradcam"])
    monkeypatch.setattr("src.api.endpoints._MOST_RETURNED_BYTES", 2 * size)
    response = answered(endpoints(red_pipeline()).batch, request(batch_of(3)))
    results = json.loads(bytes(response.body))["results"]
    assert [result["success"] for result in results] == [True, True, False]
    assert "ask for a smaller max_side" in results[2]["error"]["message"]


def test_a_batch_returns_heatmaps_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heatmaps of all classes may take more than the images: they count as much as they add to the answer."""
    asked = json.dumps({"imgs": [b64(CAT)] * 3, "gradcam": False, "heatmaps": True}).encode()
    first = json.loads(bytes(answered(endpoints(red_pipeline()).batch, request(asked)).body))["results"][0]
    size = 9 * sum(len(row) for listed in first["detail"] for row in listed["heatmap"])
    monkeypatch.setattr("src.api.endpoints._MOST_RETURNED_BYTES", 2 * size)
    response = answered(endpoints(red_pipeline()).batch, request(asked))
    results = json.loads(bytes(response.body))["results"]
    assert [result["success"] for result in results] == [True, True, False]
    assert "heatmaps of fewer classes" in results[2]["error"]["message"]


def test_every_error_in_a_batch_is_counted_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is answered 200, so this is where alerts see that its images fail, or that the answer is too large."""
    failing, full = endpoints(Slow(0)), endpoints(red_pipeline())
    assert answered(failing.batch, request(batch_of(2))).status_code == 200
    assert b'rejected_total{reason="internal"} 2.0' in failing.metrics.page()
    monkeypatch.setattr("src.api.endpoints._MOST_RETURNED_BYTES", 1)
    assert answered(full.batch, request(batch_of(2))).status_code == 200
    assert b'rejected_total{reason="invalid_request"} 2.0' in full.metrics.page()
    assert b'rejected_total{reason="internal"} 0.0' in full.metrics.page()


def test_work_stops_after_the_current_stage_when_the_client_disconnects() -> None:
    """A disconnect is noticed immediately, and no further stage starts."""
    pipeline = Slow(0.2)

    async def leave() -> tuple[int, float]:
        began = time.monotonic()
        response = await answer_of(endpoints(pipeline).json, request(BODY, gone_after=0.3))
        return response.status_code, time.monotonic() - began

    status, seconds = asyncio.run(leave())
    time.sleep(0.3)
    assert status == 499
    assert 0.25 < seconds < 0.5
    assert pipeline.started == [Stage.DECODE, Stage.TRANSFORM]


def test_work_stops_after_the_current_stage_at_the_deadline() -> None:
    """A request past its deadline is answered 504, and no further stage starts."""
    pipeline = Slow(0.2)
    response = answered(endpoints(pipeline, timeout=0.3).json, request(BODY))
    time.sleep(0.3)
    assert (response.status_code, code(response)) == (504, "timeout")
    assert pipeline.started == [Stage.DECODE, Stage.TRANSFORM]


def test_an_image_that_waits_in_a_batch_learns_that_its_client_has_left() -> None:
    """What a batch is given to check raises nothing while the client waits, and Abandoned after it has left."""
    checks: list[Callable[[], None]] = []
    routes = Endpoints(Settings(threads=1, network_batch=2))
    batching = routes.batching(1)

    class Waiting(Slow):
        def recognize(self, data: bytes, options: Any, progress: Progress) -> Any:
            checks.append(batching.check())
            checks[0]()
            return super().recognize(data, options, progress)

    routes.serve(Waiting(0.2), MODEL)  # type: ignore[arg-type] # it stands for a pipeline
    assert answered(routes.json, request(BODY, gone_after=0.3)).status_code == 499
    with pytest.raises(Abandoned):
        checks[0]()


def test_a_slow_upload_is_distinguished_from_a_slow_answer() -> None:
    """The 504 for a body that does not arrive in time mentions the upload."""

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    asked = Request(request(b"").scope, receive)
    response = answered(endpoints(Slow(0), timeout=0.1).json, asked)
    assert (response.status_code, code(response)) == (504, "timeout")
    assert b"did not arrive within 0.1 seconds" in bytes(response.body)


def test_a_bomb_is_refused_and_decompressed_bytes_count() -> None:
    """Decompressed bytes beyond the limit are answered 413; others count in the budget of all bodies."""

    def packed(size: int) -> Request:
        asked = request(gzip.compress(b" " * size, 1))
        asked.scope["headers"].append((b"content-encoding", b"gzip"))
        return asked

    routes = endpoints(Slow(0))
    assert code(answered(routes.json, packed(21_000_000))) == "body_too_large"
    routes.concurrency.bytes.limit = 10_000_000
    assert code(answered(routes.json, packed(11_000_000))) == "busy"
    assert code(answered(routes.json, packed(9_000_000))) == "invalid_request"
    assert routes.concurrency.bytes.held == 0


def test_a_body_that_never_fits_is_too_large_and_not_busy() -> None:
    """A body of more bytes than all bodies may have is answered 413, since no later attempt would succeed."""

    def announced(size: int) -> Request:
        asked = request(b" " * size)
        asked.scope["headers"].append((b"content-length", str(size).encode()))
        return asked

    routes = Endpoints(Settings(max_waiting_bytes=100))
    assert code(answered(routes.json, announced(101))) == "body_too_large"
    with routes.concurrency.bytes.lease(50):
        assert code(answered(routes.json, announced(100))) == "busy"


@pytest.mark.parametrize(("gone_after", "status"), [(0.3, 499), (3600.0, 504)], ids=["gone", "too late"])
def test_abandoned_requests_never_start(gone_after: float, status: int) -> None:
    """A waiting request whose client disconnects, or whose deadline passes, never gets a thread."""
    pipeline = Slow(0.2)
    routes = endpoints(pipeline, timeout=0.5)

    async def two() -> tuple[Response, Response]:
        return await asyncio.gather(
            answer_of(routes.json, request(BODY)), answer_of(routes.json, request(BODY, gone_after))
        )

    first, second = asyncio.run(two())
    time.sleep(0.5)
    assert (first.status_code, second.status_code) == (504, status)
    assert pipeline.started == list(Stage)[:3]  # of the first request alone


def test_no_image_of_a_batch_starts_after_the_client_disconnects() -> None:
    """After the client of a batch disconnects, none of its images starts."""
    pipeline = Slow(0.1)
    assert answered(endpoints(pipeline).batch, request(batch_of(64), gone_after=0.3)).status_code == 499
    time.sleep(0.3)
    assert len(pipeline.started) < len(Stage)


def test_a_single_request_does_not_wait_for_a_whole_batch() -> None:
    """A request that arrives after a batch of 64 images is answered after a few of them."""
    pipeline = Slow(0.002)
    routes = endpoints(pipeline, max_queue=128)

    async def both() -> tuple[int, int]:
        batch = asyncio.create_task(routes.batch(request(batch_of(64))))
        await until(lambda: bool(pipeline.started))
        await answer_of(routes.json, request(BODY))
        meanwhile = len(pipeline.started) // len(Stage)
        await batch
        return meanwhile, len(pipeline.started) // len(Stage)

    meanwhile, together = asyncio.run(both())
    assert meanwhile < 8
    assert together == 65


def test_the_images_of_a_batch_hold_a_place_each_until_they_are_done() -> None:
    """A batch of 8 leaves two of ten places: another batch that does not fit is refused, a single image is not."""
    routes = endpoints(Slow(0.02))
    concurrency = routes.concurrency

    async def fill() -> list[int]:
        batch = asyncio.create_task(routes.batch(request(batch_of(8))))
        await until(lambda: concurrency.waiting == 7)
        refused = await answer_of(routes.batch, request(batch_of(9)))
        single = await answer_of(routes.json, request(BODY))
        await until(lambda: concurrency.places.held <= 2)
        assert not batch.done()
        return [refused.status_code, single.status_code, (await batch).status_code, concurrency.places.held]

    assert asyncio.run(fill()) == [429, 500, 200, 0]


def test_a_batch_larger_than_all_places_is_answered_when_idle() -> None:
    """Such a batch takes every place; it is refused while another request holds one."""
    routes = endpoints(Slow(0))
    assert answered(routes.batch, request(batch_of(64))).status_code == 200
    with routes.concurrency.places.lease(1):
        assert answered(routes.batch, request(batch_of(64))).status_code == 429
    assert routes.concurrency.places.held == 0


def test_requests_before_the_model_is_ready_get_not_ready() -> None:
    """Requests before the model is loaded are answered 503, without a traceback in the log."""
    routes = Endpoints(Settings())
    for endpoint in (routes.json, routes.model):
        response = answered(endpoint, request(BODY))
        assert (response.status_code, code(response)) == (503, "not_ready")


@pytest.mark.parametrize(
    "body",
    [
        b'{"img": "AAAA", "x": [' + b"1," * 9_000_000 + b"1]}",
        b"{" + b",".join(b'"%d":1' % index for index in range(1_500_000)) + b"}",
        b'{"img": "AAAA", "top_k": ' + b"9" * 19_000_000 + b"}",
        b'{"img": "AAAA", "alpha": 0.' + b"9" * 19_000_000 + b"}",
        b'{"img": ' + b"[" * 19_000_000,
        b'{"img": "' + rb"\u0041" * 3_000_000 + b'"}',
        b'{"img": "AAAA"' + b" " * 19_000_000 + b"}",
        b'{"img": "' + b"-_" * 9_000_000 + b'"}',
        b'{"img": "' + b"A " * 9_000_000 + b'"}',
    ],
    ids=["numbers", "fields", "integer", "fraction", "nesting", "escapes", "blanks", "url-safe", "spaces"],
)
def test_a_hostile_body_does_not_delay_others(body: bytes) -> None:
    """The event loop, which serves all clients, is not delayed by 20 MB of hostile JSON."""
    stalls: list[float] = []

    async def look(stop: Callable[[], bool]) -> None:
        while not stop():
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            stalls.append(time.perf_counter() - began)

    async def answer() -> Response:
        asked = asyncio.create_task(answer_of(endpoints(Slow(0)).json, request(body)))
        await look(asked.done)
        return await asked

    began = time.perf_counter()
    response = asyncio.run(answer())
    assert response.status_code in {400, 415, 500}
    assert time.perf_counter() - began < 2
    assert max(stalls) < 0.5  # with the other core busy; alone it is a tenth of that

"""The handlers of the routes: read the request, wait for a thread, recognize, serialize the answer."""

import asyncio
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from src.api.body import FORM, IMAGE_ITSELF, JSON, check_json, check_unique, decompressed, is_compressed, read_body
from src.api.concurrency import Concurrency, Lease
from src.api.errors import error_object, internal_error, invalid_request
from src.api.schemas.answers import BatchResponse, ErrorResponse, RecognitionResponse
from src.api.schemas.model import ModelResponse
from src.api.schemas.requests import BatchRequest, RecognitionRequest
from src.api.telemetry.metrics import Metrics
from src.api.telemetry.observation import Observation, current_observation, while_connected
from src.api.telemetry.tracing import start_tracing
from src.api.upload import Upload, read_upload
from src.errors import DeadlineExceeded, InvalidRequest, RequestError
from src.options import Options
from src.pipeline import Pipeline
from src.progress import Abandoned, Unobserved
from src.runtimes.batches import Batching
from src.settings import Settings
from src.stages.decode import decode_base64

__all__ = ["Endpoints"]

_AHEAD: Final = 2  # batches that are collected while the network evaluates others
_TURNS: Final = 2  # images per thread: one in it, one ready for it
_MOST_RETURNED_BYTES: Final = 200_000_000  # of the images, as base64, and heatmaps in the answer to a batch
_NUMBER_BYTES: Final = 9  # of a number of a heatmap in JSON; in memory it takes four times as much

_TOO_MUCH: Final = InvalidRequest(
    f"The images and heatmaps in the answer to this batch take more than {_MOST_RETURNED_BYTES // 1_000_000} MB: send"
    " fewer images at a time, or ask for a smaller max_side, for JPEG, or for heatmaps of fewer classes (top_k)."
)
Asked = TypeVar("Asked", bound=BaseModel)
Reading = Callable[[Request, bytes], Upload]
Answer = Callable[[Request, bytes, Observation], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Serving:
    """The model that answers: its pipeline, its tag and labels, and its description as JSON."""

    pipeline: Pipeline
    tag: str
    labels: frozenset[str]
    description: str


class Endpoints:
    """The routes that need the model; they raise errors, which the application's exception handler answers.

    BentoML creates the service and loads the model while the application starts. Until :meth:`serve` is called, every
    route answers 503.
    """

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.concurrency = Concurrency(
            settings.threads, settings.max_queue, settings.max_waiting_bytes, self.metrics.queue_seconds.observe
        )
        self._settings = settings
        self._observe = partial(Observation, metrics=self.metrics)
        self._serving: Serving | None = None

    def batching(self, proposed: int) -> Batching:
        """Return how to batch images: as the settings say, otherwise at most ``proposed`` at a time."""
        most = self._settings.network_batch or proposed
        if most == 1:
            return Batching()
        self.concurrency.let_ahead(_AHEAD * most)
        return Batching(
            most,
            seconds=self._settings.network_batch_wait_ms / 1000,
            busy=lambda: self.concurrency.busy,
            aside=self.concurrency.aside,
            check=lambda: current_observation.get(Unobserved()).check,
        )

    def serve(self, pipeline: Pipeline, model: ModelResponse) -> None:
        """Answer with ``pipeline`` from now on, and describe it as ``model``."""
        self._observe = partial(Observation, metrics=self.metrics, tracer=start_tracing())
        self._serving = Serving(pipeline, model.model, frozenset(model.labels), model.model_dump_json())
        self.metrics.show_concurrency(self.concurrency)
        self.metrics.show_model(model)

    async def json(self, request: Request) -> Response:
        """Answer a JSON request with one image."""
        return await self._answer(request, partial(self._one, _read_json), (JSON,), self._settings.max_body_bytes)

    async def file(self, request: Request) -> Response:
        """Answer a multipart form with one image file, or an image file that is the body itself."""
        answer = partial(self._one, self._read_file)
        return await self._answer(request, answer, (FORM, *IMAGE_ITSELF), self._settings.max_body_bytes)

    async def batch(self, request: Request) -> Response:
        """Answer a JSON request with several images."""
        return await self._answer(request, self._batch, (JSON,), self._settings.max_batch_bytes)

    async def model(self, _: Request) -> Response:
        """Describe the model."""
        return Response(self._ready.description, media_type=JSON)

    @property
    def _ready(self) -> "Serving":
        if self._serving is None:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE)
        return self._serving

    async def _answer(self, request: Request, answer: Answer, accepted: tuple[str, ...], limit: int) -> Response:
        observation = self._observe(request)
        current_observation.set(observation)
        limit = min(limit, self._settings.max_waiting_bytes)  # beyond it, there would be no room at any time
        late = "The request did not arrive within {:g} seconds: send a smaller image, or use a faster connection."
        try:
            async with asyncio.timeout(self._settings.timeout):
                with self.concurrency.bytes.lease() as memory:
                    counted = _counted(request, memory.take)
                    body = await read_body(counted, accepted, limit)
                    late = "The answer was not ready within {:g} seconds: try again."
                    if is_compressed(request):
                        with self.concurrency.places.lease(1):
                            body = await self.concurrency.run(partial(decompressed, body, limit))
                        memory.take(len(body))
                    return Response(await answer(counted, body, observation), media_type=JSON)
        except TimeoutError:
            raise DeadlineExceeded(late.format(self._settings.timeout)) from None
        finally:
            observation.abandon()

    def _read_file(self, request: Request, body: bytes) -> Upload:
        return read_upload(request, body, self._ready.labels)

    async def _one(self, read: Reading, request: Request, body: bytes, observation: Observation) -> bytes:
        def work() -> bytes:
            observation.check()
            sent = read(request, body)
            return _written(self._recognize(sent.data, sent.options, observation))

        with self.concurrency.places.lease(1):
            async with while_connected(request):
                return await self.concurrency.run(work)

    async def _batch(self, request: Request, body: bytes, observation: Observation) -> bytes:
        with self.concurrency.places.lease(1) as places:
            async with while_connected(request):
                asked = await self.concurrency.run(lambda: self._parsed_batch(body))
                results = await self._recognize_all(asked, observation, places)
                return await self.concurrency.run(lambda: _written(BatchResponse(results=results)))

    def _parsed_batch(self, body: bytes) -> BatchRequest:
        asked = _parsed(BatchRequest, body, self._settings.max_batch)
        if len(asked.imgs) > self._settings.max_batch:
            raise InvalidRequest(f"imgs has {len(asked.imgs)} images: send at most {self._settings.max_batch}.")
        return asked

    async def _recognize_all(
        self, asked: BatchRequest, observation: Observation, places: Lease
    ) -> list[RecognitionResponse | ErrorResponse]:
        """Recognize the images of a batch, each in a place of its own, two per thread at a time.

        Those that wait for the network come on top. With more of them in the queue, every later request would wait for
        the whole batch. A batch with more images than there are places takes all places.
        """
        left, returned = len(asked.imgs), 0
        places.take(min(left, self.concurrency.places.limit) - 1)
        turns = asyncio.Semaphore(_TURNS * self.concurrency.threads + self.concurrency.ahead)

        async def one(img: str) -> RecognitionResponse | ErrorResponse:
            nonlocal left, returned
            async with turns:
                result = await self.concurrency.run(partial(self._one_of_batch, img, asked, observation))
            left -= 1
            places.shrink(max(1, left))
            returned += (size := _returned_bytes(result))
            if returned > _MOST_RETURNED_BYTES:
                returned -= size
                result = error_object(_TOO_MUCH.code, _TOO_MUCH.message)
            if isinstance(result, ErrorResponse):
                observation.rejected(result.error.code)
            return result

        return await asyncio.gather(*map(one, asked.imgs))

    def _one_of_batch(
        self, img: str, options: Options, observation: Observation
    ) -> RecognitionResponse | ErrorResponse:
        observation.check()
        try:
            return self._recognize(decode_base64(img), options, observation)
        except RequestError as exc:
            return error_object(exc.code, exc.message)
        except Abandoned:
            raise
        except Exception as exc:  # noqa: BLE001 - an image never fails the other images of its batch
            return internal_error(exc)

    def _recognize(self, data: bytes, options: Options, observation: Observation) -> RecognitionResponse:
        side = min(options.max_side, self._settings.max_output_side)
        serving = self._ready
        recognition = serving.pipeline.recognize(data, options.model_copy(update={"max_side": side}), observation)
        observation.recognized(recognition.width, recognition.height)
        return RecognitionResponse.of(recognition, serving.tag)


def _counted(request: Request, take: Callable[[int], None]) -> Request:
    """Return ``request`` such that ``take`` is called with the size of each part of its body as it arrives."""

    async def receive() -> Message:
        message = await request.receive()
        take(len(message.get("body", b"")))
        return message

    return Request(request.scope, receive)


def _parsed(model: type[Asked], body: bytes, images: int) -> Asked:
    check_json(body, images)
    body = body.removeprefix(BOM_UTF8)
    try:
        asked = model.model_validate_json(body)
    except ValidationError as exc:
        raise invalid_request(exc) from exc
    check_unique(body, len(asked.model_fields_set))
    return asked


def _read_json(_: Request, body: bytes) -> Upload:
    asked = _parsed(RecognitionRequest, body, 1)
    return Upload(decode_base64(asked.img), asked)


def _returned_bytes(result: RecognitionResponse | ErrorResponse) -> int:
    """Return how many bytes the image and the heatmaps of ``result`` take in the answer."""
    if isinstance(result, ErrorResponse):
        return 0
    numbers = sum(map(len, result.detail[0].heatmap or [])) * len(result.detail)
    return len(result.gradcam or "") + numbers * _NUMBER_BYTES


def _written(answer: BaseModel) -> bytes:
    return answer.model_dump_json(by_alias=True).encode()

"""What the three routes do: read the request, wait for a thread, recognize, write down the answer or the error."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from src.api.body import check_json, read_body, read_form
from src.api.concurrency import Concurrency, Lease
from src.api.errors import client_gone, error_object, error_response, internal_error, invalid_request
from src.api.observation import Observation, Observer, while_connected
from src.api.routes import RECOGNITION
from src.api.schemas import BatchRequest, BatchResponse, ErrorResponse, RecognitionRequest, RecognitionResponse
from src.errors import DeadlineExceeded, InvalidRequest, RequestError
from src.options import Options
from src.pipeline import Pipeline
from src.settings import Settings
from src.stages.decode import decode_base64
from src.watch import Abandoned

__all__ = ["Endpoints"]

_JSON: Final = "application/json"
_TURNS: Final = 2  # one image in a thread, one ready for it

Asked = TypeVar("Asked", bound=BaseModel)


class Endpoints:
    """The routes of one model; each takes a request and returns its response, never an exception."""

    def __init__(
        self, pipeline: Pipeline, tag: str, settings: Settings, concurrency: Concurrency, observer: Observer
    ) -> None:
        self._pipeline = pipeline
        self._tag = tag
        self._settings = settings
        self._concurrency = concurrency
        self._observer = observer

    def handlers(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        """Return what answers each of the addresses."""
        return dict(zip(RECOGNITION, (self.json, self.file, self.batch), strict=True))

    async def json(self, request: Request) -> Response:
        """Answer a JSON request with one picture."""
        return await self._answer(request, self._json)

    async def file(self, request: Request) -> Response:
        """Answer a multipart form with one picture file."""
        return await self._answer(request, self._file)

    async def batch(self, request: Request) -> Response:
        """Answer a JSON request with several pictures."""
        return await self._answer(request, self._batch)

    async def _answer(self, request: Request, answer: Callable[[Request, Observation], Awaitable[bytes]]) -> Response:
        watch = self._observer.watch(request)
        try:
            async with asyncio.timeout(self._settings.timeout):
                with self._concurrency.bytes.lease() as memory:
                    return Response(await answer(_counted(request, memory.take), watch), media_type=_JSON)
        except RequestError as exc:
            return error_response(exc)
        except TimeoutError:
            seconds = self._settings.timeout
            return error_response(DeadlineExceeded(f"The answer was not ready in {seconds:g} seconds: try again."))
        except ClientDisconnect:
            return client_gone()
        except Exception as exc:  # noqa: BLE001 - the last line: whatever it is, it is logged and answered in the one shape
            return Response(internal_error(exc).model_dump_json(), 500, media_type=_JSON)
        finally:
            watch.abandon()

    async def _json(self, request: Request, watch: Observation) -> bytes:
        body = await read_body(request, _JSON, self._settings.max_body_bytes)

        def work() -> bytes:
            watch.check()
            asked = _parsed(RecognitionRequest, body, 1)
            return _written(self._recognize(decode_base64(asked.img), asked, watch))

        with self._concurrency.places.lease(1):
            async with while_connected(request):
                return await self._concurrency.run(work)

    async def _file(self, request: Request, watch: Observation) -> bytes:
        upload = await read_form(request, self._settings.max_body_bytes)
        with self._concurrency.places.lease(1):
            async with while_connected(request):
                return await self._concurrency.run(
                    lambda: _written(self._recognize(upload.data, upload.options, watch))
                )

    async def _batch(self, request: Request, watch: Observation) -> bytes:
        body = await read_body(request, _JSON, self._settings.max_batch_bytes)
        with self._concurrency.places.lease(1) as places:
            async with while_connected(request):
                asked = await self._concurrency.run(lambda: self._parsed_batch(body))
                results = await self._recognize_all(asked, watch, places)
                return await self._concurrency.run(lambda: _written(BatchResponse(results=results)))

    def _parsed_batch(self, body: bytes) -> BatchRequest:
        asked = _parsed(BatchRequest, body, self._settings.max_batch)
        if len(asked.imgs) > self._settings.max_batch:
            raise InvalidRequest(f"imgs has {len(asked.imgs)} images: send at most {self._settings.max_batch}.")
        return asked

    async def _recognize_all(
        self, asked: BatchRequest, watch: Observation, places: Lease
    ) -> list[RecognitionResponse | ErrorResponse]:
        """Recognize the images of a batch, each in a place of its own, two for each thread at a time.

        More of them in the queue would make every request behind them wait for the whole batch. A batch of more images
        than there are places takes all of them.
        """
        left = len(asked.imgs)
        places.take(min(left, self._concurrency.places.limit) - 1)
        turns = asyncio.Semaphore(_TURNS * self._concurrency.threads)

        async def one(img: str) -> RecognitionResponse | ErrorResponse:
            nonlocal left
            async with turns:
                result = await self._concurrency.run(partial(self._one_of_batch, img, asked, watch))
            left -= 1
            places.shrink(max(1, left))
            return result

        return await asyncio.gather(*map(one, asked.imgs))

    def _one_of_batch(self, img: str, options: Options, watch: Observation) -> RecognitionResponse | ErrorResponse:
        watch.check()
        try:
            return self._recognize(decode_base64(img), options, watch)
        except RequestError as exc:
            watch.rejected(exc.code)
            return error_object(exc)
        except Abandoned:
            raise
        except Exception as exc:  # noqa: BLE001 - one picture, whatever it does, never fails its neighbours
            return internal_error(exc)

    def _recognize(self, data: bytes, options: Options, watch: Observation) -> RecognitionResponse:
        side = min(options.max_side, self._settings.max_output_side)
        recognition = self._pipeline.recognize(data, options.model_copy(update={"max_side": side}), watch)
        watch.recognized(recognition.width, recognition.height)
        return RecognitionResponse.of(recognition, self._tag)


def _counted(request: Request, take: Callable[[int], None]) -> Request:
    """Return ``request``, whose body, as it comes in, is reported to ``take``."""

    async def receive() -> Message:
        message = await request.receive()
        take(len(message.get("body", b"")))
        return message

    return Request(request.scope, receive)


def _parsed(model: type[Asked], body: bytes, pictures: int) -> Asked:
    check_json(body, pictures)
    try:
        return model.model_validate_json(body)
    except ValidationError as exc:
        raise invalid_request(exc) from exc


def _written(answer: BaseModel) -> bytes:
    return answer.model_dump_json(by_alias=True).encode()

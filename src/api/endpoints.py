"""What the three routes do: read the request, wait for a thread, recognize, write down the answer or the error."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from src.api.admission import Admission
from src.api.body import check_json, read_body, read_form
from src.api.errors import error_object, error_response, internal_error, invalid_request
from src.api.schemas import BatchRequest, BatchResponse, ErrorResponse, RecognitionRequest, RecognitionResponse
from src.errors import DeadlineExceeded, InvalidRequest, RequestError
from src.options import Options
from src.pipeline import Pipeline
from src.settings import Settings
from src.stages.decode import decode_base64

__all__ = ["Endpoints"]

_JSON: Final = "application/json"
_CLIENT_CLOSED_REQUEST: Final = 499

Asked = TypeVar("Asked", bound=BaseModel)


class Endpoints:
    """The routes of one model; each takes a request and returns its response, never an exception."""

    def __init__(self, pipeline: Pipeline, tag: str, settings: Settings) -> None:
        self._pipeline = pipeline
        self._tag = tag
        self._settings = settings
        self._admission = Admission(settings.threads, settings.max_queue)

    async def json(self, request: Request) -> Response:
        """Answer a JSON request with one picture."""
        return await self._answer(self._json(request))

    async def file(self, request: Request) -> Response:
        """Answer a multipart form with one picture file."""
        return await self._answer(self._file(request))

    async def batch(self, request: Request) -> Response:
        """Answer a JSON request with several pictures."""
        return await self._answer(self._batch(request))

    async def _answer(self, answer: Awaitable[bytes]) -> Response:
        try:
            async with asyncio.timeout(self._settings.timeout):
                return Response(await answer, media_type=_JSON)
        except RequestError as exc:
            return error_response(exc)
        except TimeoutError:
            seconds = self._settings.timeout
            return error_response(DeadlineExceeded(f"The answer was not ready in {seconds:g} seconds: try again."))
        except ClientDisconnect:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)  # nobody reads it; the access log shows it
        except Exception as exc:  # noqa: BLE001 - the last line: whatever it is, it is logged and answered in the one shape
            return Response(internal_error(exc).model_dump_json(), 500, media_type=_JSON)

    async def _json(self, request: Request) -> bytes:
        with self._admission.request():
            body = await read_body(request, _JSON, self._settings.max_body_bytes)

            def work() -> bytes:
                asked = _parsed(RecognitionRequest, body)
                return _written(self._recognize(decode_base64(asked.img), asked))

            return await self._admission.run(work)

    async def _file(self, request: Request) -> bytes:
        with self._admission.request():
            upload = await read_form(request, self._settings.max_body_bytes)
            return await self._admission.run(lambda: _written(self._recognize(upload.data, upload.options)))

    async def _batch(self, request: Request) -> bytes:
        with self._admission.request():
            body = await read_body(request, _JSON, self._settings.max_batch_bytes)
            asked = await self._admission.run(lambda: _parsed(BatchRequest, body))
            if len(asked.imgs) > self._settings.max_batch:
                raise InvalidRequest(f"imgs has {len(asked.imgs)} pictures: send at most {self._settings.max_batch}.")
            results = await asyncio.gather(*(self._admission.run(self._one_of_batch(img, asked)) for img in asked.imgs))
            return await self._admission.run(lambda: _written(BatchResponse(results=results)))

    def _one_of_batch(self, img: str, options: Options) -> Callable[[], RecognitionResponse | ErrorResponse]:
        def work() -> RecognitionResponse | ErrorResponse:
            try:
                return self._recognize(decode_base64(img), options)
            except RequestError as exc:
                return error_object(exc)
            except Exception as exc:  # noqa: BLE001 - one picture, whatever it does, never fails its neighbours
                return internal_error(exc)

        return work

    def _recognize(self, data: bytes, options: Options) -> RecognitionResponse:
        return RecognitionResponse.of(self._pipeline.recognize(data, options), self._tag)


def _parsed(model: type[Asked], body: bytes) -> Asked:
    check_json(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as exc:
        raise invalid_request(exc) from exc


def _written(answer: BaseModel) -> bytes:
    return answer.model_dump_json(by_alias=True).encode()

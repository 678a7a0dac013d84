"""The one error object, for what we refuse and for what the framework around us refuses."""

import logging
import re
import secrets
from http import HTTPStatus
from http.client import responses
from typing import Final

from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src import errors
from src.api.logs import request_id
from src.api.schemas import ErrorBody, ErrorResponse

__all__ = [
    "ERROR_CODE",
    "OneErrorShape",
    "client_gone",
    "error_object",
    "error_response",
    "internal_error",
    "invalid_request",
]

logger = logging.getLogger(__name__)

# Under this name the scope of a request tells the code of the error that it was answered with.
ERROR_CODE: Final = "image_recognition.error_code"

STATUS: Final[dict[type[errors.RequestError], HTTPStatus]] = {
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    errors.InvalidBase64: HTTPStatus.BAD_REQUEST,
    errors.UnknownClass: HTTPStatus.BAD_REQUEST,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedImage: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.BrokenImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Busy: HTTPStatus.TOO_MANY_REQUESTS,
    errors.DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
}
_HEADERS: Final = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": "1"},
}
_OF_FRAMEWORK: Final = {
    HTTPStatus.BAD_REQUEST: ("invalid_request", "The request is not valid HTTP for this service: see /docs."),
    HTTPStatus.NOT_FOUND: ("not_found", "There is nothing at this address: see /docs for what there is."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method_not_allowed", "This address does not take this method: see /docs."),
    HTTPStatus.TOO_MANY_REQUESTS: ("busy", "Too many requests are waiting: try again in a moment."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("not_ready", "The service is not ready yet: try again in a moment."),
    HTTPStatus.GATEWAY_TIMEOUT: ("timeout", "The answer was not ready in time: try again."),
}
_CLIENT_CLOSED_REQUEST: Final = 499  # nginx's number for it
_BENTOMLS: Final = re.compile(rb"\s*application/vnd\.bentoml", re.IGNORECASE)
_SHOWN: Final = 3
_MAX_FIELD: Final = 60


def error_object(error: errors.RequestError) -> ErrorResponse:
    """Return ``error`` as the one error object."""
    return ErrorResponse(error=ErrorBody(code=error.code, message=error.message))


def error_response(error: errors.RequestError) -> Response:
    """Return ``error`` as the one error object with its status."""
    status = STATUS[type(error)]
    return _response(status, error_object(error), _HEADERS.get(status))


def client_gone() -> Response:
    """Return what nobody reads, for the log and the figures: the client hung up before the answer."""
    body = ErrorResponse(error=ErrorBody(code="client_gone", message="The client hung up before the answer."))
    return Response(body.model_dump_json(), _CLIENT_CLOSED_REQUEST, media_type="application/json")


def internal_error(exc: Exception) -> ErrorResponse:
    """Log ``exc`` with its traceback, under an id that the returned error object names."""
    error_id = request_id.get() or secrets.token_hex(8)
    logger.error("internal error %s", error_id, exc_info=exc)
    message = f"Something went wrong inside the service; its log tells what, under the id {error_id}."
    return ErrorResponse(error=ErrorBody(code="internal", message=message))


def invalid_request(exc: ValidationError) -> errors.InvalidRequest:
    """Return what pydantic found wrong with a request, as one sentence for people that repeats none of its values."""
    faults = []
    for fault in exc.errors(include_url=False, include_input=False, include_context=False)[:_SHOWN]:
        field = ".".join(map(str, fault["loc"]))[:_MAX_FIELD] or "body"
        what = (
            "there is no such field"
            if fault["type"] == "extra_forbidden"
            else fault["msg"][0].lower() + fault["msg"][1:]
        )
        faults.append(f"{field}: {what}")
    return errors.InvalidRequest(f"The request is not valid: {'; '.join(faults)}. See /docs for the fields.")


def _of_bentoml(scope: Scope) -> bool:
    """Tell whether a request is of a type that BentoML refuses with a traceback in the log: its own, a pickle's."""
    return any(name == b"content-type" and _BENTOMLS.match(value) for name, value in scope["headers"])


class OneErrorShape:
    """ASGI middleware that gives every error of the framework the one shape, and lets no exception through."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        shape = _Reshaped(scope, send)
        if _of_bentoml(scope):
            told = "The Content-Type is one of BentoML's own: send JSON or a form, see /docs."
            await error_response(errors.UnsupportedMediaType(told))(scope, receive, shape)
            return
        try:
            await self.app(scope, receive, shape)
        except Exception as exc:
            if shape.started:
                raise
            await _response(HTTPStatus.INTERNAL_SERVER_ERROR, internal_error(exc))(scope, receive, shape)


class _Reshaped:
    """Sends the messages of a response on; replaces the body of an error that has another shape."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._head: Message | None = None
        self._body = b""
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == HTTPStatus.TEMPORARY_REDIRECT:
            # To the address without a slash at its end, on whatever host the client has named.
            self._head = {**message, "status": HTTPStatus.NOT_FOUND.value, "headers": []}
        elif message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
            self._head = message
        elif self._head is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_error(self._head)
        else:
            self.started = True
            await self._send(message)

    async def _send_error(self, head: Message) -> None:
        error = _error_in(self._body)
        if error is None:
            error = _cors_error(self._body) or framework_error(head["status"])
            self._body = error.model_dump_json().encode()
        self._scope[ERROR_CODE] = error.error.code
        replaced = (b"content-length", b"content-type")
        kept = [(name, value) for name, value in head["headers"] if name.lower() not in replaced]
        new = [(b"content-type", b"application/json"), (b"content-length", str(len(self._body)).encode())]
        self.started = True
        await self._send({**head, "headers": kept + new})
        await self._send({"type": "http.response.body", "body": self._body})


def _error_in(body: bytes) -> ErrorResponse | None:
    """Return the error object that ``body`` is, if it is one."""
    try:
        return ErrorResponse.model_validate_json(body)
    except ValidationError:
        return None


def _cors_error(body: bytes) -> ErrorResponse | None:
    """Return the one error object for what Starlette says to a browser that asks in vain whether it may call."""
    if not body.startswith(b"Disallowed CORS"):
        return None
    what = body.decode("ascii", "replace").removeprefix("Disallowed CORS ")[:_MAX_FIELD]
    message = f"Pages of this origin may not call the service so ({what}): see IMAGE_RECOGNITION_CORS_ORIGINS."
    return ErrorResponse(error=ErrorBody(code="cors_refused", message=message))


def framework_error(status: int) -> ErrorResponse:
    """Return the one error object for a ``status`` that was not given by us."""
    if status in _OF_FRAMEWORK:
        code, message = _OF_FRAMEWORK[HTTPStatus(status)]
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        code, message = "internal", "Something went wrong inside the service; its log tells what."
    else:
        phrase = responses.get(status, "Refused")
        code = re.sub(r"\W+", "_", phrase.lower())
        message = f"{phrase}: see /docs for what the service takes."
    return ErrorResponse(error=ErrorBody(code=code, message=message))


def _response(status: HTTPStatus, body: ErrorResponse, headers: dict[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, media_type="application/json")

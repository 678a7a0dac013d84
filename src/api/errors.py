"""The common error object: for refusals by us and by the framework, and for internal errors."""

import logging
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from http.client import responses
from typing import Final

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from src import errors
from src.api.schemas.answers import ErrorBody, ErrorResponse
from src.api.telemetry.logs import request_id

__all__ = [
    "ERROR_CODE",
    "STATUS",
    "ErrorAnswer",
    "error_object",
    "error_response",
    "framework_error",
    "internal_error",
    "invalid_request",
    "respond",
]

logger = logging.getLogger(__name__)

# Key in the ASGI scope of a request for the code of the error that answered it.
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
    HTTPStatus.BAD_REQUEST: ("invalid_request", "The request is not valid HTTP for this service: see {docs}."),
    HTTPStatus.NOT_FOUND: ("not_found", "There is no such route: see {docs} for the routes."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method_not_allowed", "This route does not accept this method: see {docs}."),
    HTTPStatus.TOO_MANY_REQUESTS: ("busy", "Too many requests are waiting: try again in a moment."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("not_ready", "The service is not ready yet: try again in a moment."),
    HTTPStatus.GATEWAY_TIMEOUT: ("timeout", "The answer was not ready in time: try again."),
}
_CLIENT_CLOSED_REQUEST: Final = 499  # as in nginx
_SHOWN: Final = 3
_MAX_FIELD: Final = 60
_MAX_DEPTH: Final = 8


class ErrorAnswer(Response):
    """An error object as a response, which stores its code in the scope for the log and the metrics."""

    media_type = "application/json"

    def __init__(self, status: int, body: ErrorResponse, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(body.model_dump_json(), status, headers)
        self._code = body.error.code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        scope[ERROR_CODE] = self._code
        await super().__call__(scope, receive, send)


async def respond(request: Request, exc: Exception) -> Response:
    """Return the answer to a request that raised ``exc``; the only exception handler of the application."""
    if isinstance(exc, errors.RequestError):
        return error_response(exc)
    if isinstance(exc, HTTPException):
        return ErrorAnswer(exc.status_code, framework_error(exc.status_code, request.url.path), exc.headers)
    if isinstance(exc, ClientDisconnect):  # for the log and the metrics only
        gone = error_object("client_gone", "The client disconnected before the answer.")
        return ErrorAnswer(_CLIENT_CLOSED_REQUEST, gone)
    return ErrorAnswer(HTTPStatus.INTERNAL_SERVER_ERROR, internal_error(exc))


def error_response(error: errors.RequestError) -> Response:
    """Return ``error`` as a response with its status."""
    status = STATUS[type(error)]
    return ErrorAnswer(status, error_object(error.code, error.message), _HEADERS.get(status))


def error_object(code: str, message: str) -> ErrorResponse:
    """Return the common error object."""
    return ErrorResponse(error=ErrorBody(code=code, message=message))


def internal_error(exc: Exception) -> ErrorResponse:
    """Log ``exc`` with its traceback and an id; return the error object that names the id."""
    error_id = request_id.get() or secrets.token_hex(8)
    logger.error("internal error %s", error_id, exc_info=exc)
    return error_object("internal", f"The service failed: see its log for the id {error_id}.")


def invalid_request(exc: ValidationError) -> errors.InvalidRequest:
    """Return the faults that pydantic found in a request as one sentence that does not repeat any of its values."""
    faults = []
    for fault in exc.errors(include_url=False, include_input=False, include_context=False)[:_SHOWN]:
        field = ".".join(map(str, fault["loc"]))[:_MAX_FIELD] or "body"
        what = (
            "there is no such field"
            if fault["type"] == "extra_forbidden"
            else fault["msg"][0].lower() + fault["msg"][1:]
        )
        faults.append(f"{field}: {what}")
    return errors.InvalidRequest(f"The request is not valid: {'; '.join(faults)}. See ./docs for the fields.")


def framework_error(status: int, path: str = "/") -> ErrorResponse:
    """Return the error object for a ``status`` that the framework chose, in answer to a request for ``path``.

    Links are relative to ``path``, because a proxy may have removed a prefix that is unknown here.
    """
    docs = ("../" * min(path.count("/") - 1, _MAX_DEPTH) or "./") + "docs"
    if status in _OF_FRAMEWORK:
        code, message = _OF_FRAMEWORK[HTTPStatus(status)]
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        code, message = "internal", "The service failed: see its log."
    else:
        phrase = responses.get(status, "Refused")
        code = re.sub(r"\W+", "_", phrase.lower())
        message = f"{phrase}: see {{docs}} for valid requests."
    return error_object(code, message.format(docs=docs))

"""The one error object around applications that answer otherwise."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from src import errors
from src.api.errors import STATUS, OneErrorShape, error_response, invalid_request
from src.api.schemas import ErrorResponse, RecognitionRequest


def answer(make: Callable[[], Response]) -> Any:
    """Return what a client sees of the response that ``make`` returns or the exception that it raises."""

    async def endpoint(_: Request) -> Response:
        return make()

    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(OneErrorShape)])
    return TestClient(app).get("/")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_request"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (418, "i_m_a_teapot"),
        (429, "busy"),
        (499, "refused"),
        (500, "internal"),
        (502, "internal"),
        (503, "not_ready"),
        (504, "timeout"),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda status: PlainTextResponse("secret", status),
        lambda status: JSONResponse([{"error": "secret"}], status),
        lambda status: JSONResponse({"success": False, "error": "secret"}, status),
        lambda status: StreamingResponse(iter([b"sec", b"ret"]), status),
        lambda status: Response(status_code=status),
    ],
    ids=["text", "array", "other object", "stream", "empty"],
)
def test_every_error_gets_the_one_shape(make: Callable[[int], Response], status: int, code: str) -> None:
    """Whatever the framework answers, text, array or stream, becomes the one object, with the status it had."""
    response = answer(lambda: make(status))
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    body = ErrorResponse.model_validate_json(response.content)
    assert body.error.code == code
    assert "secret" not in body.error.message


def test_other_headers_are_kept() -> None:
    """What a refusal says in its headers, such as the allowed methods, stays."""
    assert answer(lambda: PlainTextResponse("no", 405, {"Allow": "POST"})).headers["allow"] == "POST"


@pytest.mark.parametrize("kind", STATUS, ids=lambda kind: kind.code)
def test_our_own_errors_pass_unchanged(kind: type[errors.RequestError]) -> None:
    """An error that has the shape already keeps its code, message and status."""
    response = answer(lambda: error_response(kind("what to do")))
    assert response.status_code == STATUS[kind]
    body = ErrorResponse.model_validate_json(response.content)
    assert (body.error.code, body.error.message) == (kind.code, "what to do")


def test_every_request_error_has_a_status() -> None:
    """No request error was forgotten in the table of statuses."""
    assert set(STATUS) == set(errors.RequestError.__subclasses__())


def test_success_passes_unchanged() -> None:
    """A response that is no error is not touched."""
    assert answer(lambda: PlainTextResponse("fine")).content == b"fine"


def test_an_exception_is_answered_with_an_id_that_the_log_has(caplog: pytest.LogCaptureFixture) -> None:
    """A fault shows the client an id and nothing else; the log has the traceback under that id."""

    def fail() -> Response:
        raise RuntimeError("secret")

    with caplog.at_level(logging.ERROR):
        response = answer(fail)
    assert response.status_code == 500
    body = ErrorResponse.model_validate_json(response.content)
    assert "secret" not in body.error.message
    (record,) = [record for record in caplog.records if record.name == "src.api.errors"]
    assert record.getMessage().split()[-1] in body.error.message
    assert record.exc_info


def test_a_validation_error_names_the_field_and_no_value() -> None:
    """The sentence names the first faults by their fields and repeats nothing that was sent."""
    with pytest.raises(ValidationError) as caught:
        RecognitionRequest.model_validate({"top_k": "SECRET", "alpha": 7, "colour": "SECRET"})
    message = invalid_request(caught.value).message
    assert "top_k: input should be a valid integer" in message
    assert "alpha: " in message
    assert "SECRET" not in message

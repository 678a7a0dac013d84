"""The one exception handler."""

import logging
from typing import Any
from urllib.parse import urljoin

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from src import errors
from src.api.errors import STATUS, framework_error, invalid_request, respond
from src.api.schemas.answers import ErrorResponse
from src.api.schemas.requests import RecognitionRequest


def answer(fail: Exception | None = None) -> Any:
    """Return what a client sees of an application whose only route raises ``fail``, if anything."""

    async def endpoint(_: Request) -> Response:
        if fail is not None:
            raise fail
        return PlainTextResponse("fine")

    app = Starlette(
        routes=[Route("/", endpoint)],
        middleware=[Middleware(ExceptionMiddleware, handlers={Exception: respond})],
        exception_handlers={HTTPException: respond},
    )
    return TestClient(app).get("/")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_request"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (418, "i_m_a_teapot"),
        (429, "busy"),
        (500, "internal"),
        (502, "internal"),
        (503, "not_ready"),
        (504, "timeout"),
    ],
)
def test_framework_errors_get_the_common_error_object(status: int, code: str) -> None:
    """Framework errors keep their status, but none of their words."""
    response = answer(HTTPException(status, "secret"))
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    body = ErrorResponse.model_validate_json(response.content)
    assert body.error.code == code
    assert "secret" not in body.error.message


@pytest.mark.parametrize("prefix", ["", "/models/cats"])
@pytest.mark.parametrize("path", ["/nothing", "/docs/nothing", "/a/b/c/d", "/a/"])
def test_links_in_errors_work_behind_any_prefix(prefix: str, path: str) -> None:
    """From the requested path, whatever prefix a proxy removes, the link leads to the page."""
    link = framework_error(404, path).error.message.split("see ")[1].split()[0]
    assert urljoin(f"http://host{prefix}{path}", link) == f"http://host{prefix}/docs"


def test_a_path_of_very_many_slashes_gets_a_short_answer() -> None:
    """The link does not grow with the path."""
    assert len(framework_error(404, "/" * 60_000).error.message) < 200


def test_other_headers_are_kept() -> None:
    """The headers of a refusal, such as the allowed methods, are kept."""
    assert answer(HTTPException(405, headers={"Allow": "POST"})).headers["allow"] == "POST"


@pytest.mark.parametrize("kind", STATUS, ids=lambda kind: kind.code)
def test_a_request_error_has_its_status(kind: type[errors.RequestError]) -> None:
    """A request error is answered with its code, its message and the status of its class."""
    response = answer(kind("what to do"))
    assert response.status_code == STATUS[kind]
    body = ErrorResponse.model_validate_json(response.content)
    assert (body.error.code, body.error.message) == (kind.code, "what to do")


def test_every_request_error_has_a_status() -> None:
    """The table of statuses has every request error."""
    assert set(STATUS) == set(errors.RequestError.__subclasses__())


def test_success_passes_unchanged() -> None:
    """A successful response is not modified."""
    assert answer().content == b"fine"


def test_an_exception_is_answered_with_the_id_of_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """The client sees only an id; the log has the traceback under that id."""
    with caplog.at_level(logging.ERROR):
        response = answer(RuntimeError("secret"))
    assert response.status_code == 500
    body = ErrorResponse.model_validate_json(response.content)
    assert "secret" not in body.error.message
    (record,) = [record for record in caplog.records if record.name == "src.api.errors"]
    assert record.getMessage().split()[-1] in body.error.message
    assert record.exc_info


def test_a_validation_error_names_the_field_but_not_the_value() -> None:
    """The message names the fields of the first faults and never repeats a value."""
    with pytest.raises(ValidationError) as caught:
        RecognitionRequest.model_validate({"top_k": "SECRET", "alpha": 7, "color": "SECRET"})
    message = invalid_request(caught.value).message
    assert "top_k: input should be a valid integer" in message
    assert "alpha: " in message
    assert "SECRET" not in message

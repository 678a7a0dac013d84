"""The way past the routing of BentoML."""

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from src.api import shortcut
from src.api.shortcut import Shortcut


async def handler(request: Request) -> Response:
    """Answer with what was sent."""
    return Response(await request.body())


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [("POST", "/known", "sent"), ("GET", "/known", "app"), ("POST", "/unknown", "app"), ("POST", "/known/", "app")],
)
def test_only_a_post_to_an_address_with_a_handler_takes_the_shortcut(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, expected: str
) -> None:
    """Everything else goes the way that BentoML has for it."""
    monkeypatch.setitem(shortcut.HANDLERS, "/known", handler)
    client = TestClient(Shortcut(PlainTextResponse("app")))
    assert client.request(method, path, content=b"sent").text == expected


def test_before_there_is_a_model_nothing_takes_the_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without handlers every request goes to the application."""
    monkeypatch.setattr(shortcut, "HANDLERS", {})
    assert TestClient(Shortcut(PlainTextResponse("app"))).post("/image_recognition", content=b"sent").text == "app"

"""What the line of a request in the log may contain."""

import logging
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from src.api.middleware.access import Access
from src.api.telemetry.metrics import Metrics


@pytest.mark.parametrize(
    ("forwarded", "logged"),
    [
        ("192.0.2.7", "client=192.0.2.7:0"),
        ("2001:db8::7", "client=2001:db8::7:0"),
        ("SECRET", "client=unknown:0"),
        ("::1%SECRET", "client=unknown:0"),
        ("192.0.2.7 status=200 SECRET", "client=unknown:0"),
    ],
)
def test_only_an_address_of_x_forwarded_for_is_logged(
    forwarded: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy on this machine is trusted to name the client, but may pass on whatever the client itself sent."""
    behind_proxy: Any = ProxyHeadersMiddleware  # its types are those of another package
    app = behind_proxy(Access(PlainTextResponse("ok"), Metrics()), trusted_hosts="127.0.0.1")
    client = TestClient(app, client=("127.0.0.1", 50_000))
    with caplog.at_level(logging.INFO, "src.api.middleware.access"):
        client.get("/model", headers={"X-Forwarded-For": forwarded})
    assert logged in caplog.text
    assert "SECRET" not in caplog.text

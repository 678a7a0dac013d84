"""Count, time and log every request."""

import logging
import re
import secrets
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.api.errors import ERROR_CODE
from src.api.routes import METRICS, PROBES
from src.api.telemetry.logs import log_fields, request_id
from src.api.telemetry.metrics import Metrics

__all__ = ["Access", "note_unreadable"]

logger = logging.getLogger(__name__)

_QUIET: Final = frozenset({*PROBES, METRICS})
_ID_HEADER: Final = b"x-request-id"
_ID: Final = re.compile(rb"[\w.-]{1,64}", re.ASCII)
_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
_MAX_PATH: Final = 100
_ADDRESS: Final = re.compile(r"[0-9a-fA-F.:]{2,45}")


class Access:
    """ASGI middleware that gives every request an id, counts and times it, and logs it in one line.

    The line never contains the query or the body, and at most 100 characters of the path, percent-encoded as sent.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        status = 0
        own_id = _own_id(scope)
        request_id.set(own_id)

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (_ID_HEADER, own_id.encode()), _NO_SNIFFING]}
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, noting)
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, status, perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path, code = scope["path"], scope.get(ERROR_CODE)
        self._metrics.answered(path, status, seconds)
        if code is not None:
            self._metrics.rejected(code)
        if path not in _QUIET:
            _log(scope, status, code, seconds)


def _own_id(scope: Scope) -> str:
    """Return the id that the client gave its request, or a new one."""
    for name, value in scope["headers"]:
        if name == _ID_HEADER and _ID.fullmatch(value):
            return str(value.decode("ascii"))
    return secrets.token_hex(8)


def note_unreadable(metrics: Metrics, client: tuple[str, int] | None, status: int, code: str) -> str:
    """Count and log a request that was refused as invalid HTTP or too long; return the id that it was given."""
    host, port = client or ("", 0)
    own_id = secrets.token_hex(8)
    fields = {"client": f"{host}:{port}", "status": int(status), "code": code, "request_id": own_id}
    log_fields(logger, fields)
    metrics.unreadable(status, code)
    return own_id


def _log(scope: Scope, status: int, code: str | None, seconds: float) -> None:
    host, port = scope["client"] or ("", 0)
    if not _ADDRESS.fullmatch(host):  # uvicorn takes any text from X-Forwarded-For if the peer is a proxy here
        host = "unknown"
    fields = {
        "client": f"{host}:{port}",
        "method": scope["method"],
        "path": scope["raw_path"].decode("ascii", "replace")[:_MAX_PATH],
        "status": status,
        **({"code": code} if code else {}),
        "ms": round(1000 * seconds, 1),
        "request_id": request_id.get(),
    }
    log_fields(logger, fields)

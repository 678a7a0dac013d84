"""What is refused by the head of a request alone, before anything is done for it."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from time import monotonic
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from src.api.concurrency import Concurrency
from src.api.errors import error_response
from src.api.routes import RECOGNITION
from src.api.telemetry.logs import log_fields
from src.api.telemetry.metrics import Metrics
from src.errors import Busy

__all__ = ["Busyness", "Overload"]

logger = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 1.0
_LOOKED_AT: Final = frozenset({b"expect", b"origin"})
_COSTLY: Final = {path.encode(): path for path in RECOGNITION}


class Busyness:
    """ASGI application that answers everything with 429, from bytes that were made once."""

    def __init__(self) -> None:
        response = error_response(Busy("Too many requests are waiting: try again in a moment."))
        headers = [*response.raw_headers, (b"x-content-type-options", b"nosniff")]
        self._head = {"type": "http.response.start", "status": response.status_code, "headers": headers}
        self._body = {"type": "http.response.body", "body": response.body}
        lines = [b"HTTP/1.1 429 Too Many Requests", *(b"%b: %b" % header for header in headers)]
        self.as_sent = b"\r\n".join([*lines, b"", bytes(response.body)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Answer one request."""
        await send({**self._head})
        await send(self._body)


class Overload:
    """ASGI middleware, outermost, that refuses images while as many requests wait as may.

    So a refusal costs next to nothing, and many leave the work on what was accepted alone: they are counted one by one,
    but the log tells of them once a second. The connection asks for the :meth:`refusal` before there is a request at
    all; what comes from a browser of another origin, and needs more headers, is refused here.
    """

    def __init__(self, app: ASGIApp, busy: ASGIApp, concurrency: Concurrency, metrics: Metrics) -> None:
        self._app = app
        self._busy = busy
        self._as_sent = Busyness().as_sent
        self._concurrency = concurrency
        self._metrics = metrics
        self._refused = 0
        self._told = 0.0
        self._let_in = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if _is_costly(scope) and not self._concurrency.places.has_room():
            self._note(scope["path"])
            await self._busy(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def refusal(self, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        """Return the answer to a request, as it is sent, if there is no room for it; None if it has to be looked at."""
        if method != b"POST" or url not in _COSTLY or any(name in _LOOKED_AT for name, _ in headers):
            return None
        if self._has_room():
            return None
        self._note(_COSTLY[url])
        return self._as_sent

    def note_unreadable(self, client: tuple[str, int] | None, status: int, code: str) -> str:
        """Count and log what was refused because it is no HTTP, or too much of it; return the id that it got."""
        host, port = client or ("", 0)
        own_id = secrets.token_hex(8)
        fields = {"client": f"{host}:{port}", "status": int(status), "code": code, "request_id": own_id}
        log_fields(logger, fields)
        self._metrics.unreadable(status, code)
        return own_id

    def _has_room(self) -> bool:
        """Return whether there is a place for one more beside those let in since the event loop last ran their tasks.

        From then on they hold places themselves, so that none counts twice.
        """
        if not self._concurrency.places.has_room(self._let_in + 1):
            return False
        if not self._let_in:
            asyncio.get_running_loop().call_soon(self._forget)
        self._let_in += 1
        return True

    def _forget(self) -> None:
        self._let_in = 0

    def _note(self, path: str) -> None:
        self._metrics.turned_away(path)
        self._refused += 1
        now = monotonic()
        if now - self._told >= _PAUSE_SECONDS:
            logger.warning("busy: %d refused, %d are waiting", self._refused, self._concurrency.waiting)
            self._refused, self._told = 0, now


def _is_costly(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in RECOGNITION

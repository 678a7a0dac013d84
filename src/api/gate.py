"""What is refused by the head of a request alone, before anything is done for it."""

import logging
from time import monotonic
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from src.api.admission import Admission
from src.api.errors import error_response
from src.api.metrics import Metrics
from src.api.routes import RECOGNITION
from src.errors import Busy

__all__ = ["Busyness", "Gate"]

logger = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 1.0


class Gate:
    """ASGI middleware, outermost, that answers with ``busy`` while as many requests wait as may.

    So a refusal costs next to nothing, and many leave the work on what was accepted alone: they are counted one by one,
    but the log tells of them once a second.
    """

    def __init__(self, app: ASGIApp, busy: ASGIApp, admission: Admission, metrics: Metrics) -> None:
        self._app = app
        self._busy = busy
        self._admission = admission
        self._metrics = metrics
        self._refused = 0
        self._told = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if self._admission.is_full and scope["type"] == "http" and _is_costly(scope):
            self._note(scope["path"])
            await self._busy(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _note(self, path: str) -> None:
        self._metrics.turned_away(path)
        self._refused += 1
        now = monotonic()
        if now - self._told >= _PAUSE_SECONDS:
            logger.warning("busy: %d refused, %d are waiting", self._refused, self._admission.waiting)
            self._refused, self._told = 0, now


class Busyness:
    """ASGI application that answers everything with 429, from bytes that were made once."""

    def __init__(self) -> None:
        response = error_response(Busy("Too many requests are waiting: try again in a moment."))
        headers = [*response.raw_headers, (b"x-content-type-options", b"nosniff")]
        self._head = {"type": "http.response.start", "status": response.status_code, "headers": headers}
        self._body = {"type": "http.response.body", "body": response.body}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Answer one request."""
        await send({**self._head})
        await send(self._body)


def _is_costly(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"] in RECOGNITION

"""The way to the routes that recognize, past the routing of BentoML."""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["HANDLERS", "Shortcut"]

Handler = Callable[[Request], Awaitable[Response]]

HANDLERS: Final[dict[str, Handler]] = {}
"""What answers a POST to each address; filled as soon as there is a model to answer with."""


class Shortcut:
    """ASGI middleware, innermost, that hands a request to its handler where there is one.

    BentoML would look for the same method of the service by its routing, its serialization and its injection of
    dependencies, all of them in the event loop, through which every request of all threads has to pass.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["method"] == "POST" and (handler := HANDLERS.get(scope["path"])):
            response = await handler(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)

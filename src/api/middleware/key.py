"""Require the API key, if the service has one."""

import hashlib
import secrets
from collections.abc import Iterable
from typing import Final

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from src.api.errors import error_response
from src.errors import Unauthorized

__all__ = ["KeyRequired"]

_SCHEME: Final = b"bearer "


class KeyRequired:
    """ASGI middleware that requires ``Authorization: Bearer <key>``, except for the ``open`` paths.

    An open path that ends in a slash includes everything below it.
    """

    def __init__(self, app: ASGIApp, key: SecretStr, open: Iterable[str]) -> None:  # noqa: A002 - they are open
        self._app = app
        self._digest = _digest(key.get_secret_value().encode())
        self._open = frozenset(open)
        self._open_below = tuple(path for path in self._open if path.endswith("/") and path != "/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        app = self._app
        if scope["type"] != "lifespan" and not self._is_open(scope["path"]) and not self._is_sent(scope):
            app = error_response(Unauthorized("The API key is missing or wrong: send 'Authorization: Bearer <key>'."))
        await app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._open or (path.startswith(self._open_below) and ".." not in path)

    def _is_sent(self, scope: Scope) -> bool:
        """Return whether the key was sent, in constant time for every wrong key."""
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(sent) != 1 or sent[0][: len(_SCHEME)].lower() != _SCHEME:
            return False
        return secrets.compare_digest(_digest(sent[0][len(_SCHEME) :].strip()), self._digest)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()

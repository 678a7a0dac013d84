"""Limits of connections: what a client may send before its request is complete, and how long it may take."""

import asyncio
import logging
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http import auto

from src.api.errors import framework_error
from src.api.middleware.access import note_unreadable
from src.api.telemetry.metrics import Metrics

if TYPE_CHECKING or find_spec("httptools") is not None:  # missing on Windows, which is not for production
    from httptools import HttpParserUpgrade, HttpRequestParser
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
else:
    from uvicorn.protocols.http.h11_impl import H11Protocol as HttpToolsProtocol

__all__ = ["GuardedProtocol", "guard_connections"]

_LOGGER: Final = logging.getLogger("uvicorn.error.connections")
_LOGGER.setLevel(logging.ERROR)  # it would log clients' mistakes a second time, without id and address
_MAX_HEAD: Final = 65_536
_MAX_PIPELINED: Final = 16
_MIN_CHUNK: Final = 64  # bytes per chunk, on average over one read; even an empty chunk costs some work


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's connection, with limits where uvicorn has none.

    The head of a request must arrive within ``seconds`` and 64 KiB, and the client must read the answer within
    ``seconds``; otherwise the connection is closed. :mod:`src.api.body` limits the body. Bytes that are not HTTP are
    answered with the common error object, and requests to upgrade to another protocol like any other request.
    """

    seconds = 30.0
    metrics: Metrics | None = None

    _declined = b""  # head of the request to parse again, without the upgrade that it asks for
    _pieces = 0  # chunks of a body in the current read
    _silent = 0  # bytes since the last useful ones: the end of a head, or part of a body
    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever uvicorn gives its connections
        super().__init__(*args, **kwargs)
        self.access_log = False  # we log; uvicorn would quote the URL of every request for nothing
        self.logger = _LOGGER
        self.ws_protocol_class = None  # there are no WebSockets: their handshake is a GET like any other
        self.parser = _Parser(self.parser, self)  # type: ignore[assignment] # it wraps uvicorn's parser

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Start waiting for a request."""
        super().connection_made(transport)
        self._reading = self.loop.call_later(self.seconds, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Receive bytes from the client."""
        self._silent += len(data)
        self._pieces = 0
        super().data_received(data)
        if self._pieces > _MIN_CHUNK + len(data) // _MIN_CHUNK and not self.transport.is_closing():
            self._refuse(HTTPStatus.BAD_REQUEST)
        if self._silent > _MAX_HEAD and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Start to answer; from now on the deadline of the request applies."""
        self._silent = 0
        if self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers):
            self._declined = self._plain_head()
            return
        if self._reading is not None:
            self._reading.cancel()
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise ConnectionError("too many requests at once on one connection")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive part of the body."""
        self._silent = 0
        self._pieces += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Finish a request, unless it will be parsed again."""
        if not self._declined:
            super().on_message_complete()

    def without_upgrade(self) -> bytes:
        """Return, once, the head of a request that asked for an upgrade, to parse again; otherwise nothing."""
        head, self._declined = self._declined, b""
        return head

    def _plain_head(self) -> bytes:
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_response_complete(self) -> None:
        """Wait for the unread rest of the body, and for the next request."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._reading = self.loop.call_later(self.seconds, self.transport.abort)

    def pause_writing(self) -> None:
        """Wait for the client to read what was sent."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Continue sending."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the signature is that of uvicorn
        """Answer bytes that are not HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _refuse(self, status: HTTPStatus) -> None:
        error = framework_error(status)
        body = error.model_dump_json().encode()
        own_id = "" if self.metrics is None else note_unreadable(self.metrics, self.client, status, error.error.code)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nconnection: close\r\ncontent-type: application/json\r\n"
            f"x-request-id: {own_id}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class _Parser:
    """A wrapper of httptools' parser, which stops after the head of a request that asks for an upgrade.

    An upgrade that is not accepted must be ignored (RFC 9110, 7.8): Java's HttpClient and ``curl --http2`` ask for one
    by default. So such a request is parsed again, with its body, from a head without the upgrade.
    """

    def __init__(self, parser: "HttpRequestParser", connection: GuardedProtocol) -> None:
        self._parser = parser
        self._connection = connection

    def feed_data(self, data: bytes) -> None:
        """Parse all of ``data``."""
        while True:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as exc:
                head = self._connection.without_upgrade()
                if not head:
                    raise
                data = head + data[exc.args[0] :]
            else:
                return

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else uvicorn asks its parser
        return getattr(self._parser, name)


def guard_connections(seconds: float, metrics: Metrics) -> None:
    """Make the server that is started next guard its connections.

    Args:
        seconds: How long a client may take to send the head of a request, or to read an answer.
        metrics: Counts requests that are not valid HTTP.
    """
    if find_spec("httptools") is not None:
        GuardedProtocol.seconds = seconds
        GuardedProtocol.metrics = metrics
        auto.AutoHTTPProtocol = GuardedProtocol  # BentoML leaves the choice to uvicorn

"""A load generator of little cost, which can send requests at a fixed rate however slowly they are answered."""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final, cast

__all__ = ["BROKEN", "Client", "Outcome", "at_rate", "request_bytes", "without_pause"]

BROKEN: Final = 0  # in place of a status, if a connection ended without an answer
_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_TICK_SECONDS: Final = 0.01


@dataclass
class Outcome:
    """The answers by status in ``seconds``, the time that each successful one took, and when the load ended."""

    statuses: Counter[int] = field(default_factory=Counter)
    good_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    ended: float = 0.0

    @property
    def goodput(self) -> float:
        """Successful answers per second."""
        return self.statuses[200] / self.seconds


def request_bytes(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """Return the bytes of a POST request."""
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One connection, which waits for each answer before it sends the next request."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._wanted = -1
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's do not inherit from it

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        assert self.transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._buffer.clear()
        self._wanted = -1
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._wanted < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._buffer, 0, end)
            self._wanted = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) >= self._wanted and self._answer is not None and not self._answer.done():
            self._answer.set_result(int(self._buffer[9:12]))

    def connection_lost(self, _: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(BROKEN)


class Client:
    """Connections to one server, opened as needed and reused."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._idle: deque[_Connection] = deque()
        self.outcome = Outcome()

    async def ask(self, request: bytes) -> int:
        """Send ``request``, count the status of its answer, and return it."""
        began = time.perf_counter()
        connection = await self._connection()
        status = await connection.ask(request)
        self.outcome.statuses[status] += 1
        if status == 200:
            self.outcome.good_seconds.append(time.perf_counter() - began)
        self._idle.append(connection)
        return status

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, *self._address)
        return connection

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.abort()


async def at_rate(client: Client, requests: Sequence[bytes], rate: float, seconds: float) -> Outcome:
    """Send ``requests`` in turn, ``rate`` per second, for ``seconds``; later successful answers do not count."""
    client.outcome = Outcome()
    began = time.perf_counter()
    turns, sent, tasks = cycle(requests), 0, set[asyncio.Task[int]]()
    while (elapsed := time.perf_counter() - began) < seconds:
        while sent < rate * elapsed:
            task = asyncio.create_task(client.ask(next(turns)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(_TICK_SECONDS)
    in_time = client.outcome
    in_time.seconds, in_time.ended = time.perf_counter() - began, time.monotonic()
    client.outcome = Outcome()
    await asyncio.gather(*tasks)
    del client.outcome.statuses[200]
    in_time.statuses += client.outcome.statuses
    return in_time


async def without_pause(client: Client, requests: Sequence[bytes], clients: int, seconds: float) -> Outcome:
    """Let ``clients`` clients send ``requests`` in turn, each the next one as soon as the last is answered."""
    client.outcome = outcome = Outcome()
    began = time.perf_counter()
    turns = cycle(requests)

    async def one() -> None:
        while time.perf_counter() - began < seconds:
            await client.ask(next(turns))

    await asyncio.gather(*(one() for _ in range(clients)))
    outcome.seconds = time.perf_counter() - began
    return outcome

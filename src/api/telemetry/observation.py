"""Observe the work for one request: how long its stages take, and whether the client still waits."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from src.api.telemetry.metrics import Metrics
from src.api.telemetry.tracing import Trace
from src.progress import Abandoned, Stage

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["Observation", "current_observation", "while_connected"]

# Of the request being answered, in its task and in every thread that works for it.
current_observation: ContextVar["Observation"] = ContextVar("current_observation")


class Observation:
    """The progress of the work for one request, over any number of images and threads; without ``tracer``, no trace."""

    def __init__(self, request: Request, metrics: Metrics, tracer: "Tracer | None" = None) -> None:
        self._metrics = metrics
        self._trace = None if tracer is None else Trace(tracer, f"POST {request.url.path}", request.headers)
        self._abandoned = False

    def abandon(self) -> None:
        """Start no further stage, because the answer is ready or the client no longer waits."""
        self._abandoned = True
        if self._trace is not None:
            self._trace.end()

    def check(self) -> None:
        """Continue only if the client still waits.

        Raises:
            Abandoned: It does not.
        """
        if self._abandoned:
            raise Abandoned

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time one stage.

        Raises:
            Abandoned: On entry, if the client no longer waits.
        """
        self.check()
        began = perf_counter()
        try:
            yield
        finally:
            seconds = perf_counter() - began
            self._metrics.stage_seconds[stage].observe(seconds)
            if self._trace is not None:
                self._trace.ended(stage, seconds)

    def recognized(self, width: int, height: int) -> None:
        """Record the size in pixels of a recognized image."""
        self._metrics.megapixels.observe(width * height / 1e6)

    def rejected(self, code: str) -> None:
        """Record that an image of a batch was refused with the error ``code``."""
        self._metrics.rejected(code)


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel the body of the with-block when the client disconnects; the body of ``request`` must have been read.

    Raises:
        ClientDisconnect: The client disconnected.
    """
    inside = asyncio.current_task()
    assert inside is not None  # noqa: S101 - a coroutine always runs in a task
    gone = False

    async def listen() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        inside.cancel()

    listener = asyncio.create_task(listen())
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        inside.uncancel()
        raise ClientDisconnect from None
    finally:
        listener.cancel()

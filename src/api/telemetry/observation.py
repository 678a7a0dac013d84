"""Observe the work for one request: how long its stages take, and whether the client still waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from contextvars import ContextVar
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from src.api.telemetry.metrics import Metrics
from src.api.telemetry.tracing import Trace
from src.progress import Abandoned, Stage

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["Observation", "Observer", "current_observation", "while_connected"]

# Of the request being answered, in its task and in every thread that works for it; None outside a request.
current_observation: ContextVar["Observation | None"] = ContextVar("current_observation", default=None)


class Observer:
    """Reports observations to the metrics, and to traces if they are enabled."""

    def __init__(self, metrics: Metrics, tracer: "Tracer | None" = None) -> None:
        self.metrics = metrics
        self._tracer = tracer

    def observe(self, request: Request) -> "Observation":
        """Start observing the work for ``request``."""
        if self._tracer is None:
            return Observation(self.metrics)
        return Observation(self.metrics, Trace(self._tracer, f"POST {request.url.path}", request.headers))


class Observation:
    """The progress of the work for one request, over any number of images and threads."""

    __slots__ = ("_abandoned", "_metrics", "_trace")

    def __init__(self, metrics: Metrics, trace: Trace | None = None) -> None:
        self._metrics = metrics
        self._trace = trace
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

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Return a context that times one stage.

        Raises:
            Abandoned: On entry, if the client no longer waits.
        """
        return _Timed(self, stage)

    def ended(self, stage: Stage, seconds: float) -> None:
        """Record that a stage ends now and took ``seconds``."""
        self._metrics.stage_seconds[stage].observe(seconds)
        if self._trace is not None:
            self._trace.ended(stage, seconds)

    def recognized(self, width: int, height: int) -> None:
        """Record the size in pixels of a recognized image."""
        self._metrics.megapixels.observe(width * height / 1e6)

    def rejected(self, code: str) -> None:
        """Record that an image of a batch was refused with the error ``code``."""
        self._metrics.rejected(code)


class _Timed(AbstractContextManager[None]):
    __slots__ = ("_began", "_observation", "_stage")

    def __init__(self, observation: Observation, stage: Stage) -> None:
        self._observation = observation
        self._stage = stage

    def __enter__(self) -> None:
        self._observation.check()
        self._began = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._observation.ended(self._stage, perf_counter() - self._began)


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

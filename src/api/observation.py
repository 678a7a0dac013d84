"""Looking on at the work for one request: how long its stages take, and whether anybody still waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from time import perf_counter
from types import TracebackType

from starlette.requests import ClientDisconnect, Request

from src.api.metrics import Metrics
from src.watch import Abandoned, Stage

__all__ = ["Observation", "while_connected"]


class Observation:
    """The watch over the work for one request, of however many pictures and threads."""

    __slots__ = ("_abandoned", "_metrics")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._abandoned = False

    def abandon(self) -> None:
        """Let no further stage start: nobody waits for the answer."""
        self._abandoned = True

    def check(self) -> None:
        """Go on only if somebody waits.

        Raises:
            Abandoned: Nobody does.
        """
        if self._abandoned:
            raise Abandoned

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Surround one stage, and note its time.

        Raises:
            Abandoned: On entry, where nobody waits for the answer.
        """
        return _Timed(self, stage)

    def ended(self, stage: Stage, began: float) -> None:
        """Note the time of a stage that began when the clock was at ``began``."""
        self._metrics.stage_seconds[stage].observe(perf_counter() - began)


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
        self._observation.ended(self._stage, self._began)


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel what is inside as soon as the client goes away; the body of ``request`` must have been read.

    Raises:
        ClientDisconnect: The client went away.
    """
    inside = asyncio.current_task()
    assert inside is not None  # noqa: S101 - there is always one inside a coroutine
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

"""A runtime that batches the images of several threads."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import numpy as np
from numpy.typing import NDArray

from src.runtimes.base import Array, Runtime
from src.store.manifest import RuntimeName

__all__ = ["Batching", "batched"]

_LOOK_SECONDS: Final = 0.001  # between two looks at whether a core is idle, which nothing announces


@dataclass(frozen=True, slots=True)
class Batching:
    """How images are batched.

    ``most``: maximum images of a batch; 1: no batching. ``seconds``: how long a batch with room waits for more images
    while ``busy`` reports that no core is idle. ``aside`` is the context in which a thread only waits. ``check``,
    called by the thread that asks, returns a function that raises once the answer is no longer wanted.
    """

    most: int = 1
    seconds: float = 0.0
    busy: Callable[[], bool] = lambda: False
    aside: Callable[[], AbstractContextManager[None]] = nullcontext
    check: Callable[[], Callable[[], None]] = lambda: lambda: None


def batched(runtime: Runtime, batching: Batching, streams: int) -> Runtime:
    """Return ``runtime`` with batching, for any number of threads; ``streams`` batches run at the same time."""

    def together(run: Callable[..., Array]) -> Callable[..., Array]:
        batches = _Batches(lambda *inputs: (run(*inputs),), batching, streams)
        return lambda *inputs: batches(*inputs)[0]

    graphs, closed_form = runtime.graphs, runtime.closed_form
    return Runtime(
        _BatchedGraphs(
            graphs.name,
            graphs.precision,
            graphs.device,
            _Batches(graphs.network, batching, streams),
            together(graphs.gradient),
        ),
        runtime.layout,
        closed_form and together(closed_form),
    )


@dataclass(frozen=True, slots=True)
class _BatchedGraphs:
    name: RuntimeName
    precision: str
    device: str
    network: Callable[[NDArray[np.uint8]], tuple[Array, ...]]
    gradient: Callable[[Array, Array], Array]


@dataclass(slots=True, eq=False)
class _Turn:
    """The request of one thread, and its outputs or error; if it has neither when ``called``, it runs a batch."""

    inputs: tuple[NDArray[np.generic], ...]
    check: Callable[[], None]
    called: threading.Event = field(default_factory=threading.Event)
    outputs: tuple[Array, ...] | None = None
    error: Exception | None = None

    def is_wanted(self) -> bool:
        """Return whether its outputs are still wanted; if not, its thread gets the error that says so."""
        try:
            self.check()
        except Exception as exc:  # noqa: BLE001 - whatever ends the work is raised in the thread that asked
            self.error = exc
        return self.error is None


class _Batches:
    """Lets the first thread run a batch for all that wait, without a thread of its own or unnecessary waiting.

    A free stream is taken immediately, so threads wait only while all streams are busy; the thread that finishes a
    batch calls the one that has waited longest to run the next.
    """

    def __init__(self, run: Callable[..., tuple[Array, ...]], batching: Batching, streams: int) -> None:
        self._run = run
        self._batching = batching
        self._streams = streams
        self._running = 0
        self._waiting: deque[_Turn] = deque()
        self._changed = threading.Condition()

    def __call__(self, *inputs: NDArray[np.generic]) -> tuple[Array, ...]:
        turn = _Turn(inputs, self._batching.check())
        with self._batching.aside():
            if self._waits(turn):
                turn.called.wait()
            if turn.outputs is None and turn.error is None:
                self._lead(turn)
        if turn.error is not None:
            raise turn.error
        assert turn.outputs is not None  # noqa: S101 - a turn ends with one of them
        return turn.outputs

    def _waits(self, turn: _Turn) -> bool:
        """Take a free stream for ``turn``, or queue it if there is none; return whether it must wait."""
        with self._changed:
            if self._running < self._streams:
                self._running += 1
                return False
            self._waiting.append(turn)
            self._changed.notify_all()
            return True

    def _lead(self, first: _Turn) -> None:
        """Run the batch of ``first`` and of the turns that wait, then call the one that runs the next batch."""
        batch = [first]
        try:
            batch += self._others()
            self._answer(batch)
        finally:
            with self._changed:
                if self._waiting:
                    self._waiting.popleft().called.set()
                else:
                    self._running -= 1
            for turn in batch[1:]:
                turn.called.set()

    def _others(self) -> list[_Turn]:
        room, batching = self._batching.most - 1, self._batching
        with self._changed:
            until = monotonic() + batching.seconds
            while len(self._waiting) < room and (left := until - monotonic()) > 0 and batching.busy():
                self._changed.wait(min(left, _LOOK_SECONDS))
            return [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]

    def _answer(self, batch: list[_Turn]) -> None:
        """Give every turn its rows of the outputs; if the batch fails, run each alone, so only faulty ones fail.

        Turns whose outputs are no longer wanted are left out.
        """
        batch = [turn for turn in batch if turn.is_wanted()]
        if not batch:
            return
        try:
            inputs = map(np.concatenate, zip(*(turn.inputs for turn in batch), strict=True))
            outputs = self._run(*inputs)
        except Exception as exc:  # noqa: BLE001 - whatever an engine raises is raised in the thread that asked
            if len(batch) == 1:
                batch[0].error = exc
            else:
                for turn in batch:
                    self._answer([turn])
            return
        for row, turn in enumerate(batch):
            turn.outputs = tuple(output[row : row + 1] for output in outputs)

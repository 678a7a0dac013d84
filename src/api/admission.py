"""How many requests may wait, how many bytes of them, and how many pictures are in work at once."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

from src.errors import Busy
from src.priority import Priority, give_way

__all__ = ["Admission"]

T = TypeVar("T")


class Admission:
    """Bounded threads with a bounded queue before them; belongs to one event loop.

    Work starts in the order of arrival. What is cancelled while it waits never starts; a thread is free again only when
    its work has really ended, so no more than ``threads`` pictures are ever in work.

    Args:
        threads: Pictures that may be in work at once.
        max_queue: Requests that may wait for them. One whose body is still on its way does not count: clients that send
            slowly take no place from others.
        max_bytes: Bytes of bodies, complete or not, that may be in memory.
        waited: Is told how many seconds each piece of work waited.
    """

    def __init__(
        self,
        threads: int,
        max_queue: int,
        max_bytes: int = 512_000_000,
        waited: Callable[[float], object] | None = None,
    ) -> None:
        self.threads = threads
        self.max_queue = max_queue
        self.max_bytes = max_bytes
        self.working = 0
        self.bytes = 0
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix="recognize", initializer=give_way, initargs=(Priority.PICTURE,)
        )
        self._counting = threading.Lock()
        self._requests = 0
        self._waited = waited

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a thread, 0 to ``max_queue``."""
        return max(0, self._requests - self.threads)

    def has_room(self, others: int = 0) -> bool:
        """Tell whether there is a place for one more request beside ``others`` that have none yet."""
        return self._requests + others < self.threads + self.max_queue

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Hold room for one body: call what is given with the number of bytes that have come.

        Raises:
            Busy: From that call, where all the room is taken.
        """
        held = 0

        def take(count: int) -> None:
            nonlocal held
            if self.bytes + count > self.max_bytes:
                raise Busy("Too much is waiting: try again in a moment.")
            self.bytes += count
            held += count

        try:
            yield take
        finally:
            self.bytes -= held

    @contextmanager
    def request(self) -> Iterator[None]:
        """Hold a place for one request.

        Raises:
            Busy: All places are taken.
        """
        if not self.has_room():
            raise Busy("Too many requests are waiting: try again in a moment.")
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``, run in a thread as soon as one is free.

        The threads take it from their own queue: they need not wait until the event loop, which may have a thousand
        requests to refuse, gives them the next.
        """
        loop, came = asyncio.get_running_loop(), time.perf_counter()
        return await loop.run_in_executor(self._executor, copy_context().run, self._observed, work, came)

    def _observed(self, work: Callable[[], T], came: float) -> T:
        if self._waited is not None:
            self._waited(time.perf_counter() - came)
        with self._counting:
            self.working += 1
        try:
            return work()
        finally:
            with self._counting:
                self.working -= 1

"""How many images may be in work and wait at once, and how many bytes of them."""

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

__all__ = ["Budget", "Concurrency", "Lease"]

T = TypeVar("T")


class Budget:
    """A number of something that all requests share.

    Args:
        limit: How much of it there is.
        refusal: What a request is told that asks for more than is left.
    """

    def __init__(self, limit: int, refusal: str) -> None:
        self.limit = limit
        self.refusal = refusal
        self.held = 0

    def has_room(self, count: int = 1) -> bool:
        """Return whether ``count`` more are left."""
        return self.held + count <= self.limit

    @contextmanager
    def lease(self, count: int = 0) -> Iterator["Lease"]:
        """Hold ``count`` of the budget, and what the lease takes later; everything is given back at the end.

        Raises:
            Busy: Less is left.
        """
        lease = Lease(self)
        lease.take(count)
        try:
            yield lease
        finally:
            lease.shrink(0)


class Lease:
    """What one request holds of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, count: int) -> None:
        """Take ``count`` more.

        Raises:
            Busy: Less is left.
        """
        if not self._budget.has_room(count):
            raise Busy(self._budget.refusal)
        self._budget.held += count
        self._held += count

    def shrink(self, count: int) -> None:
        """Give back everything beyond ``count``."""
        surplus = max(0, self._held - count)
        self._budget.held -= surplus
        self._held -= surplus


class Concurrency:
    """Bounded threads with a bounded queue before them; belongs to one event loop.

    Work starts in the order of arrival. What is cancelled while it waits never starts; a thread is free again only when
    its work has really ended, so no more than ``threads`` images are ever in work, and at most ``ahead`` others have
    stepped aside, decoded, until the network takes them.

    ``places`` are those of the images in work and of those that wait, ``bytes`` those of bodies, complete or not. A
    request whose body is still on its way holds no place: clients that send slowly take none from others.

    Args:
        threads: Images that may be in work at once.
        max_queue: Images that may wait for them.
        max_bytes: Bytes of bodies that may be in memory.
        waited: Called with the seconds that each piece of work waited.
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
        self.places = Budget(threads + max_queue, "Too many requests are waiting: try again in a moment.")
        self.bytes = Budget(max_bytes, "Too much is waiting: try again in a moment.")
        self.working = 0
        self._turns = threading.Semaphore(threads)
        self.let_ahead(0)
        self._counting = threading.Lock()
        self._waited = waited

    @property
    def waiting(self) -> int:
        """Number of images that wait for a thread, 0 to ``max_queue``."""
        return max(0, self.places.held - self.threads)

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``, run in a thread as soon as one is free.

        The threads take it from their own queue: they need not wait until the event loop, which may have a thousand
        requests to refuse, gives them the next.
        """
        loop, came = asyncio.get_running_loop(), time.perf_counter()
        return await loop.run_in_executor(self._executor, copy_context().run, self._observed, work, came)

    def let_ahead(self, ahead: int) -> None:
        """Let ``ahead`` images step aside; to be called before there is any work."""
        self.ahead = ahead
        self._executor = ThreadPoolExecutor(
            self.threads + ahead, thread_name_prefix="recognize", initializer=give_way, initargs=(Priority.IMAGE,)
        )

    @property
    def busy(self) -> bool:
        """Whether as many images are in work as there may be."""
        return self.working >= self.threads

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let another image be in work while the thread inside of this only waits."""
        with self._counted(-1):
            self._turns.release()
            try:
                yield
            finally:
                self._turns.acquire()

    def _observed(self, work: Callable[[], T], came: float) -> T:
        with self._turns, self._counted(1):
            if self._waited is not None:
                self._waited(time.perf_counter() - came)
            return work()

    @contextmanager
    def _counted(self, change: int) -> Iterator[None]:
        with self._counting:
            self.working += change
        try:
            yield
        finally:
            with self._counting:
                self.working -= change

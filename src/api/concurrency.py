"""Limit how many images are processed and wait at the same time, and how many bytes they take."""

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
    """An amount that all requests share.

    Args:
        limit: The total amount.
        refusal: Message for a request that needs more than is left.
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
        """Hold ``count`` of the budget, and whatever the lease takes later; release all of it at the end.

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
    """The share of a budget that one request holds."""

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
        """Release everything beyond ``count``."""
        surplus = max(0, self._held - count)
        self._budget.held -= surplus
        self._held -= surplus


class Concurrency:
    """Bounded threads with a bounded queue in front of them; belongs to one event loop.

    Work starts in the order of arrival. Work that is cancelled while it waits never starts. A thread is free again only
    when its work has ended, so at most ``threads`` images are processed at a time, and at most ``ahead`` others have
    been decoded and wait for the network.

    ``places`` counts the images that are processed or wait, ``bytes`` the bodies in memory, complete or not. A request
    whose body is still arriving holds no place, so slow clients do not take places from others.

    Args:
        threads: Images that may be processed at the same time.
        max_queue: Images that may wait for a thread.
        max_bytes: Bytes of bodies that may be in memory.
        waited: Called with the seconds that each piece of work waited.
    """

    def __init__(
        self,
        threads: int,
        max_queue: int,
        max_bytes: int = 512_000_000,
        waited: Callable[[float], object] = lambda _: None,
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
        """Number of images waiting for a thread, 0 to ``max_queue``."""
        return max(0, self.places.held - self.threads)

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``, run in a thread as soon as one is free.

        The threads take work from their own queue, so they never wait for the event loop, which may have a thousand
        requests to refuse.
        """
        loop, came = asyncio.get_running_loop(), time.perf_counter()
        return await loop.run_in_executor(self._executor, copy_context().run, self._observed, work, came)

    def let_ahead(self, ahead: int) -> None:
        """Let ``ahead`` images wait for the network outside of the ``threads``; call this before there is any work."""
        self.ahead = ahead
        self._executor = ThreadPoolExecutor(
            self.threads + ahead, thread_name_prefix="recognize", initializer=give_way, initargs=(Priority.IMAGE,)
        )

    @property
    def busy(self) -> bool:
        """Whether as many images are being processed as allowed."""
        return self.working >= self.threads

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let another image be processed while the thread inside this context only waits."""
        with self._counted(-1):
            self._turns.release()
            try:
                yield
            finally:
                self._turns.acquire()

    def _observed(self, work: Callable[[], T], came: float) -> T:
        with self._turns, self._counted(1):
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

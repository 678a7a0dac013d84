"""How many requests may wait, and how many pictures are in work at once."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from src.errors import Busy

__all__ = ["Admission"]

T = TypeVar("T")


class Admission:
    """Bounded threads with a bounded queue before them; belongs to one event loop.

    Work starts in the order of arrival. A caller that is cancelled while it waits never starts; a thread is free again
    only when its work has really ended, so no more than ``threads`` pictures are ever in work.
    """

    def __init__(self, threads: int, max_queue: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="recognize")
        self._free = asyncio.Semaphore(threads)
        self._places = threads + max_queue

    @contextmanager
    def request(self) -> Iterator[None]:
        """Hold a place for one request.

        Raises:
            Busy: All places are taken.
        """
        if self._places == 0:
            raise Busy("Too many requests are waiting: try again in a moment.")
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``, run in a thread as soon as one is free."""
        await self._free.acquire()
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        future.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(future)

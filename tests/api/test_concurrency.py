"""Bounded threads and a bounded queue."""

import asyncio
import threading
import time

import pytest

from src.api.concurrency import Concurrency
from src.errors import Busy


def test_work_runs_in_a_thread_and_returns_its_result() -> None:
    """The event loop receives the result from another thread."""
    assert asyncio.run(Concurrency(1, 0).run(threading.get_ident)) != threading.get_ident()


def test_an_exception_is_raised_in_the_caller() -> None:
    """The caller gets the exception of the work, and the thread is free again."""

    async def fail_often() -> None:
        concurrency = Concurrency(1, 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(concurrency.run(lambda: 1 // 0), 5)

    asyncio.run(fail_often())


def test_concurrent_work_is_limited_to_the_threads() -> None:
    """However much work waits, only as many pieces as threads run at a time."""
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    async def many() -> None:
        concurrency = Concurrency(3, 0)
        await asyncio.gather(*(concurrency.run(work) for _ in range(20)))

    asyncio.run(many())
    assert most == 3


def test_work_that_waits_for_the_network_frees_its_place() -> None:
    """While one image waits for the network, another is processed, but never more than allowed."""
    concurrency = Concurrency(1, 0)
    concurrency.let_ahead(1)
    waits, other_ran = threading.Event(), threading.Event()

    def waiting() -> int:
        with concurrency.aside():
            waits.set()
            assert other_ran.wait(10)
        return concurrency.working

    def other() -> int:
        assert waits.wait(10)
        other_ran.set()
        return concurrency.working

    async def both() -> list[int]:
        return list(await asyncio.gather(concurrency.run(waiting), concurrency.run(other)))

    assert asyncio.run(both()) == [1, 1]


def test_one_request_too_many_is_refused_immediately() -> None:
    """Threads and queue are the places; the next request is refused, and a released place can be taken again."""

    async def fill() -> None:
        concurrency = Concurrency(1, 1)
        with concurrency.places.lease(1), concurrency.places.lease(1), pytest.raises(Busy, match="try again"):
            concurrency.places.lease(1).__enter__()
        with concurrency.places.lease(1):
            pass

    asyncio.run(fill())


def test_cancelled_work_never_starts() -> None:
    """Work whose caller is cancelled in the queue does not run."""
    done: list[str] = []

    async def give_up() -> None:
        concurrency = Concurrency(1, 9)
        first = asyncio.create_task(concurrency.run(lambda: time.sleep(0.2)))
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(concurrency.run(lambda: done.append("second")), 0.05)
        await first
        await concurrency.run(lambda: done.append("third"))

    asyncio.run(give_up())
    assert done == ["third"]


def test_a_thread_is_busy_until_its_work_has_ended() -> None:
    """A cancelled caller does not free the thread that still works for it."""
    order: list[str] = []

    def slow() -> None:
        time.sleep(0.2)
        order.append("first ended")

    async def overtake() -> None:
        concurrency = Concurrency(1, 9)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(concurrency.run(slow), 0.05)
        await concurrency.run(lambda: order.append("second started"))

    asyncio.run(overtake())
    assert order == ["first ended", "second started"]


def test_all_bodies_share_one_limit() -> None:
    """Bytes are counted as they arrive, refused beyond the limit, and released with the request."""
    concurrency = Concurrency(1, 9, max_bytes=10)
    with concurrency.bytes.lease() as one, concurrency.bytes.lease() as other:
        one.take(6)
        other.take(4)
        with pytest.raises(Busy, match="try again"):
            other.take(1)
    assert concurrency.bytes.held == 0
    with concurrency.bytes.lease() as one:
        one.take(10)


def test_waiting_and_working_images_are_counted() -> None:
    """The numbers of waiting and of processed images are current."""

    async def look() -> None:
        concurrency = Concurrency(1, 2)
        assert (concurrency.waiting, concurrency.working, concurrency.places.has_room()) == (0, 0, True)
        with concurrency.places.lease(1), concurrency.places.lease(1), concurrency.places.lease(1):
            assert (concurrency.waiting, concurrency.places.has_room()) == (2, False)
            assert await concurrency.run(lambda: concurrency.working) == 1
            await asyncio.sleep(0)
            assert concurrency.working == 0

    asyncio.run(look())


def test_waiting_times_are_reported() -> None:
    """Each piece of work reports how long it waited for its thread."""
    waited: list[float] = []

    async def two() -> None:
        concurrency = Concurrency(1, 9, waited=waited.append)
        await asyncio.gather(concurrency.run(lambda: time.sleep(0.1)), concurrency.run(lambda: None))

    asyncio.run(two())
    assert waited[0] < 0.05 < waited[1] < 1

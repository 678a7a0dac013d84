"""The priorities of the service's threads."""

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from src.api.concurrency import Concurrency
from src.priority import Priority, give_way
from tests.places import PACKAGED_PHOTOS
from tests.serving import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all threads of a process are equal")


def niceness(thread: int = 0) -> int:
    """Return the niceness of a thread, by default of this one."""
    return os.getpriority(os.PRIO_PROCESS, thread)


def behind(first: int, priority: Priority) -> int:
    """Return the niceness of a thread that gives way to one of the niceness ``first``; there is none above 19."""
    return min(19, first + priority)


def in_a_thread(work: Callable[[], int]) -> int:
    """Return what ``work`` returns in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_a_thread_gives_way_and_hands_that_on_to_the_threads_it_starts_but_to_no_other() -> None:
    """Niceness is inherited."""

    def give_way_and_start_one() -> int:
        give_way(Priority.NETWORK)
        return in_a_thread(niceness)

    before = niceness()
    assert in_a_thread(give_way_and_start_one) == behind(before, Priority.NETWORK)
    assert niceness() == before


def test_a_graph_that_an_image_is_the_first_to_need_gets_the_priority_of_the_network() -> None:
    """What gives way already gives way no further: the gradient is compiled by the first image that asks for it."""

    def compile_for_an_image() -> int:
        give_way(Priority.IMAGE)
        with ThreadPoolExecutor(1, initializer=give_way, initargs=(Priority.NETWORK,)) as patient:
            return patient.submit(niceness).result()

    assert in_a_thread(compile_for_an_image) == behind(niceness(), Priority.NETWORK)


def test_images_give_way_to_the_event_loop() -> None:
    """The thread of the work is nicer than that of the loop."""
    assert asyncio.run(Concurrency(threads=1, max_queue=0).run(niceness)) == behind(niceness(), Priority.IMAGE)


def test_in_a_server_the_network_gives_way_to_images_and_they_to_the_event_loop(server: Server) -> None:
    """All three priorities are there, and of the network at least one thread for each core."""
    httpx.post(f"{server.url}/image_recognition_file", files={"img": PACKAGED_PHOTOS[0].read_bytes()}, timeout=60)
    worker = max(psutil.Process(server.process.pid).children(recursive=True), key=lambda each: each.memory_info().rss)
    loop = niceness(worker.pid)
    found = [niceness(int(thread.name)) for thread in Path(f"/proc/{worker.pid}/task").iterdir()]
    assert found.count(behind(loop, Priority.IMAGE)) >= 1
    assert found.count(behind(loop, Priority.NETWORK)) >= len(os.sched_getaffinity(0))

"""Send ten times as many requests as the service can answer."""

import asyncio
import base64
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from tests.benchmarks.photos import SMALL, make_photos
from tests.benchmarks.processes import ProcessTree
from tests.benchmarks.progress import say
from tests.places import ROOT
from tests.serving import Server
from tests.soak.load import Client, at_rate, request_bytes, without_pause
from tests.soak.probe import PATHS

__all__ = ["Overload", "json_body", "overload"]

FACTOR: Final = 10
CLIENTS: Final = 16
GOODPUT: Final = 0.85  # share of the capacity; sending the requests takes a twentieth of the cores
RECOVERY_SECONDS: Final = 2.0
PROBE_SECONDS: Final = 0.1
GROWTH_BYTES: Final = 200_000_000
_DOCUMENTED: Final = {200, 429, 504}


@dataclass(frozen=True)
class Overload:
    """The result of an overload.

    ``capacity`` and ``goodput`` are successful answers per second, ``probes`` the 99th percentiles of the probes'
    answers in seconds, ``recovery`` the seconds after the end until single requests took at most twice as long as at
    rest, and ``growth`` the bytes of additional memory.
    """

    capacity: float
    goodput: float
    statuses: Mapping[int, int]
    probes: Mapping[str, float]
    recovery: float
    growth: int

    def faults(self) -> list[str]:
        """Return a sentence for each thing that went wrong."""
        found = []
        if not set(self.statuses) <= _DOCUMENTED:
            found.append(f"there were statuses other than {_DOCUMENTED}: {dict(self.statuses)}")
        if self.goodput < GOODPUT * self.capacity:
            found.append(f"goodput fell to {self.goodput / self.capacity:.0%} of the capacity")
        if self.recovery > RECOVERY_SECONDS:
            found.append(f"recovery took {self.recovery:.1f} s")
        if self.growth > GROWTH_BYTES:
            found.append(f"memory grew by {self.growth / 1e6:.0f} MB")
        found += [
            f"{path} took {1000 * took:.0f} ms (99th percentile)"
            for path, took in self.probes.items()
            if took > PROBE_SECONDS
        ]
        return found


async def overload(server: Server, seconds: float) -> Overload:
    """Send ``server`` ten times as many requests as it can answer for ``seconds``, and measure its probes meanwhile."""
    host, port = server.url.removeprefix("http://").split(":")
    tree = ProcessTree(psutil.Process(server.process.pid))
    requests = [request_bytes("/image_recognition", json_body(file)) for file in make_photos(SMALL).files]
    client = Client(host, int(port))
    await without_pause(client, requests, CLIENTS, max(1.0, seconds / 20))
    at_rest = await _one(client, requests)
    capacity = (await without_pause(client, requests, CLIENTS, max(3.0, seconds / 4))).goodput
    before = tree.pss_bytes()
    say(f"overload: capacity {capacity:.1f}/s; sending {FACTOR * capacity:.0f}/s for {seconds:g} s")
    prober = _start_prober(server, seconds)
    sizes: list[int] = []
    looking = asyncio.create_task(_look(tree, sizes))
    under = await at_rate(client, requests, FACTOR * capacity, seconds)
    looking.cancel()
    while await _one(client, requests) > 2 * at_rest and time.monotonic() < under.ended + 60:
        pass
    recovery = time.monotonic() - under.ended
    took = json.loads((await asyncio.to_thread(prober.communicate))[0])
    client.close()
    probes = {path: sorted(took[path])[int(0.99 * len(took[path]))] for path in PATHS}
    result = Overload(capacity, under.goodput, under.statuses, probes, recovery, max(sizes) - before)
    say(f"overload: goodput {result.goodput:.1f}/s, {result.goodput / capacity:.0%}; {dict(under.statuses)}")
    say(f"overload: median of successful answers {statistics.median(under.good_seconds or [0]):.2f} s")
    say("overload: " + ", ".join(f"{path} {1000 * value:.0f} ms" for path, value in probes.items()) + " (p99)")
    say(f"overload: recovery {recovery:.2f} s; memory {before / 1e6:.0f} MB, {result.growth / 1e6:+.0f} MB")
    return result


def json_body(file: bytes, **options: object) -> bytes:
    """Return the JSON body of a request for the image ``file``."""
    return json.dumps({"img": base64.b64encode(file).decode(), **options}).encode()


def _start_prober(server: Server, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.soak.probe", server.url, str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def _one(client: Client, requests: Sequence[bytes]) -> float:
    """Return the mean seconds per request of all ``requests``, sent one after the other."""
    began = time.perf_counter()
    for request in requests:
        await client.ask(request)
    return (time.perf_counter() - began) / len(requests)


async def _look(tree: ProcessTree, sizes: list[int]) -> None:
    while True:
        sizes.append(tree.pss_bytes())
        await asyncio.sleep(1)

"""Check that the memory of the service stays flat over many requests: ``python -m tests.benchmarks.soak``."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.load import write_bodies
from tests.benchmarks.measure import put_under_load
from tests.benchmarks.photos import SMALL, make_photos
from tests.benchmarks.progress import say
from tests.benchmarks.results import Memory
from tests.benchmarks.services import Running, our_service, start
from tests.benchmarks.store import store_default

__all__ = ["main", "soak"]

_CLIENTS: Final = 16
_LOOK_SECONDS: Final = 5
_MOST_GROWTH: Final = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 1 if the memory grew by 2 % or more."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="how many (default: %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="image-recognition-soak-") as scratch:
        folder = Path(scratch)
        store_default()
        bodies = write_bodies(folder / "bodies", [{"img": file} for file in make_photos(SMALL).files])
        running = start(our_service(), folder)
        try:
            growth = soak(running, bodies, options.requests).growth()
        finally:
            running.tree.end()
    say(f"growth of memory after the first requests: {growth:.2%}")
    return int(growth >= _MOST_GROWTH)


def soak(running: Running, bodies: tuple[Path, ...], requests: int) -> Memory:
    """Send at least ``requests`` requests, and sample the memory of the server every few seconds.

    Raises:
        RuntimeError: A request was refused or broken.
    """
    seconds = min(_LOOK_SECONDS, max(1, requests // 500))
    counts, sizes = [0], [running.tree.pss_bytes() / 1e6]
    while counts[-1] < requests:
        load = put_under_load(running, "/image_recognition", bodies, _CLIENTS, seconds).load
        if load.refused or load.broken:
            raise RuntimeError(f"{load.refused} requests were refused and {load.broken} broken.")
        counts.append(counts[-1] + load.answers)
        sizes.append(running.tree.pss_bytes() / 1e6)
        say(f"soak: {counts[-1]:6d} requests, {sizes[-1]:.1f} MB")
    return Memory(tuple(counts), tuple(sizes))


if __name__ == "__main__":
    sys.exit(main())

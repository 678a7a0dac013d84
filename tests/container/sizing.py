"""Measure what a container of the image answers with one core and with two: python -m tests.container.sizing .

It needs wrk (apt-get install wrk), which uses the same cores, and a Docker engine with the image.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks.load import Load, WrkFailed, parse, start_wrk, write_bodies
from tests.benchmarks.photos import HUGE, SMALL, make_photos
from tests.container.engine import Engine
from tests.container.images import Image
from tests.container.running import Container, container

_CLIENTS: Final = (1, 8, 32)
_SECONDS: Final = 10
_EXIT_FAILED: Final = 2


def main() -> int:
    """Print the figures as a table; return the exit code: 0, or 2 where it cannot measure."""
    print("| photos | cores | clients | requests/s | p50 ms | p99 ms | highest memory so far, MB |")  # noqa: T201
    print("| --- | --: | --: | --: | --: | --: | --: |")  # noqa: T201
    try:
        for line in measured(Image(Engine(), "image-recognition")):
            print(line, flush=True)  # noqa: T201
    except WrkFailed as exc:
        sys.stderr.write(f"{exc}\n")
        return _EXIT_FAILED
    except subprocess.CalledProcessError as exc:
        sys.stderr.write(f"{exc.stderr}Start a Docker engine and run 'make container' first.\n")
        return _EXIT_FAILED
    return 0


def measured(image: Image) -> Iterator[str]:
    """Measure, and give the lines of the table."""
    with tempfile.TemporaryDirectory() as scratch:
        for photos in (SMALL, HUGE):
            bodies = write_bodies(Path(scratch) / photos, [{"img": file} for file in make_photos(photos).files])
            for cores in (1, 2):
                with container(image, "--cpus", str(cores)) as running:
                    loaded(running, bodies, clients=4, seconds=2)  # to warm up
                    for clients in _CLIENTS:
                        load = loaded(running, bodies, clients, _SECONDS)
                        figures = f"{load.per_second:.1f} | {load.p50:.0f} | {load.p99:.0f}"
                        yield f"| {photos} | {cores} | {clients} | {figures} | {highest_memory(running) / 1e6:.0f} |"


def loaded(running: Container, bodies: tuple[Path, ...], clients: int, seconds: float) -> Load:
    """Return what the container answers to so many clients, of which each asks again as soon as it is answered."""
    address = running.inspect(".NetworkSettings.IPAddress")  # past Docker's proxy, which takes its share of the cores
    wrk = start_wrk(f"http://{address}:8000/image_recognition", bodies, clients, seconds)
    return parse(wrk.communicate()[0])


def highest_memory(running: Container) -> int:
    """Return the most memory in bytes that the container has had so far, of either version of control groups."""
    files = "/sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes"
    return int(running.run("sh", "-c", f"cat {files} 2>/dev/null || true").split()[0])


if __name__ == "__main__":
    sys.exit(main())

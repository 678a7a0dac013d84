"""Containers of the image, hardened as in the Docker guide and deploy/."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from tests.container.engine import Engine
from tests.container.images import Image

__all__ = ["HARDENED", "UID", "Container", "container", "started"]

UID: Final = 54321  # none that the image knows
HARDENED: Final = (
    "--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --memory 1g --pids-limit 128"
    f" --user {UID}:{UID}"
).split()
_READY_SECONDS: Final = 60


@dataclass(frozen=True)
class Container:
    """A container that was started at ``began``, on the clock of :func:`time.monotonic`."""

    engine: Engine
    name: str
    began: float

    @property
    def url(self) -> str:
        """Where this machine reaches the container's port 8000."""
        return f"http://{self.engine.docker('port', self.name, '8000/tcp').splitlines()[0]}"

    @property
    def log(self) -> str:
        """What it has written so far."""
        done = self.engine.tried("logs", self.name)
        return done.stdout + done.stderr

    def inspect(self, template: str) -> Any:
        """Return what ``docker inspect`` knows, as JSON."""
        return json.loads(self.engine.docker("inspect", "--format", f"{{{{json {template}}}}}", self.name))

    def run(self, *command: str) -> str:
        """Return what a command in the container prints."""
        return self.engine.docker("exec", self.name, *command)

    def wait_until_ready(self) -> float:
        """Return how many seconds it took from the start to taking requests."""
        url, deadline = self.url, self.began + _READY_SECONDS
        with httpx.Client() as client:
            while time.monotonic() < deadline and self.inspect(".State.Running"):
                try:
                    if client.get(f"{url}/readyz").is_success:
                        return time.monotonic() - self.began
                except httpx.TransportError:
                    time.sleep(0.05)
        raise RuntimeError(f"the container did not start:\n{self.log}")

    def stop(self, grace_seconds: int = 30) -> int:
        """Send SIGTERM; return the exit code, which is 137 if that was not enough in time."""
        self.engine.docker("stop", "--time", str(grace_seconds), self.name)
        return int(self.inspect(".State.ExitCode"))


@contextmanager
def started(image: Image, *options: str) -> Iterator[Container]:
    """Start a container of ``image``; remove it at the end."""
    began = time.monotonic()
    name = image.engine.docker("run", "--detach", "--publish", "127.0.0.1::8000", *options, image.name)
    try:
        yield Container(image.engine, name, began)
    finally:
        image.engine.docker("rm", "--force", "--volumes", name)


@contextmanager
def container(image: Image, *options: str) -> Iterator[Container]:
    """Start a hardened container of ``image`` and wait until it takes requests; remove it at the end."""
    with started(image, *HARDENED, *options) as running:
        running.wait_until_ready()
        yield running

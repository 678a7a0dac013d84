"""Start real servers for tests."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.places import ROOT

BENTOML: Final = str(Path(sys.executable).parent / "bentoml")
_START_SECONDS: Final = 90


@dataclass(frozen=True)
class Server:
    """A started ``bentoml serve``."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return self.log_file.read_text(encoding="utf-8")

    def wait_until_ready(self) -> None:
        """Return when the server takes requests."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/readyz").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError(f"the server did not start:\n{self.log}")

    def stop(self) -> None:
        """End the server and its workers."""
        self.process.terminate()
        self.process.wait(timeout=30)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(
    target: str, folder: Path, environment: Mapping[str, str] | None = None, cwd: Path = ROOT, port: int | None = None
) -> Server:
    """Start ``bentoml serve TARGET`` in ``cwd`` on ``port``, by default a free one; its log goes to ``folder``."""
    port = port or free_port()
    log_file = folder / "server.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [BENTOML, "serve", target, "--host", "127.0.0.1", "--port", str(port)],
            cwd=cwd,
            env=os.environ | dict(environment or {}),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return Server(f"http://127.0.0.1:{port}", process, log_file)


@contextmanager
def running_server(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve this project, its log in ``folder``, as long as the context lasts; on entry the server is ready."""
    started = start_server("service:ImageRecognition", folder, environment)
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.stop()

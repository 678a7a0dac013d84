"""wrk, the load generator, and what it says."""

import base64
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Load", "WrkFailed", "find_wrk", "parse", "start_wrk", "write_bodies"]

_SCRIPT: Final = Path(__file__).parent / "wrk.lua"
_MARK: Final = "RESULT "
_TIMEOUT_SECONDS: Final = 300  # a slow server's answers count too


class WrkFailed(Exception):
    """wrk is missing or has measured nothing; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk counted: answers within ``seconds``, latencies in milliseconds.

    ``refused`` answers had a status above 399, ``broken`` ones never came.
    """

    answers: int
    seconds: float
    p50: float
    p95: float
    p99: float
    refused: int
    broken: int

    @property
    def per_second(self) -> float:
        """Good answers per second."""
        return (self.answers - self.refused) / self.seconds


def find_wrk() -> str:
    """Return where wrk is.

    Raises:
        WrkFailed: It is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise WrkFailed("The benchmark needs the load generator wrk: apt-get install wrk, or brew install wrk.")
    return found


def write_bodies(folder: Path, bodies: Sequence[dict[str, Any]]) -> tuple[Path, ...]:
    """Write each of ``bodies`` as a JSON file to the new ``folder``."""
    folder.mkdir(parents=True)
    files = tuple(folder / f"{index}.json" for index in range(len(bodies)))
    for file, body in zip(files, bodies, strict=True):
        encoded = {
            key: base64.b64encode(value).decode() if isinstance(value, bytes) else value for key, value in body.items()
        }
        file.write_text(json.dumps(encoded), encoding="utf-8")
    return files


def start_wrk(url: str, bodies: Sequence[Path], clients: int, seconds: float) -> subprocess.Popen[str]:
    """Start ``clients`` clients that each post the ``bodies`` in turn, the next as soon as the last is answered."""
    return subprocess.Popen(
        [
            find_wrk(),
            "-t1",
            f"-c{clients}",
            f"-d{max(1, round(seconds))}s",
            f"--timeout={_TIMEOUT_SECONDS}s",
            "-s",
            str(_SCRIPT),
            url,
            "--",
            *map(str, bodies),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def parse(output: str) -> Load:
    """Read what wrk printed.

    Raises:
        WrkFailed: There is no result in it.
    """
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise WrkFailed(f"wrk has measured nothing: {output.strip()}")
    counted = json.loads(line.removeprefix(_MARK))
    seconds = counted["microseconds"] / 1e6
    # Where nobody was answered in time, all that is known of the latencies is that they are longer.
    p50, p95, p99 = (counted[name] / 1000 if counted["requests"] else 1000 * seconds for name in ("p50", "p95", "p99"))
    return Load(counted["requests"], seconds, p50, p95, p99, counted["refused"], counted["broken"])

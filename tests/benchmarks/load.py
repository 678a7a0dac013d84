"""Run the load generator wrk, and parse its output."""

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
_TIMEOUT_SECONDS: Final = 300  # so that slow answers count too


class WrkFailed(Exception):
    """wrk is missing, or printed no result."""


@dataclass(frozen=True, slots=True)
class Load:
    """The counts of wrk: answers within ``seconds``, latencies in milliseconds.

    ``refused`` answers had a status above 399; ``broken`` ones never arrived.
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
        """Successful answers per second."""
        return (self.answers - self.refused) / self.seconds


def find_wrk() -> str:
    """Return the path of wrk.

    Raises:
        WrkFailed: It is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise WrkFailed("The benchmark needs the load generator wrk. Run apt-get install wrk, or brew install wrk.")
    return found


def write_bodies(folder: Path, bodies: Sequence[dict[str, Any]]) -> tuple[Path, ...]:
    """Write each of ``bodies`` as a JSON file to the new ``folder``, with bytes as base64."""
    folder.mkdir(parents=True)
    files = tuple(folder / f"{index}.json" for index in range(len(bodies)))
    for file, body in zip(files, bodies, strict=True):
        encoded = {
            key: base64.b64encode(value).decode() if isinstance(value, bytes) else value for key, value in body.items()
        }
        file.write_text(json.dumps(encoded), encoding="utf-8")
    return files


def start_wrk(url: str, bodies: Sequence[Path], clients: int, seconds: float) -> subprocess.Popen[str]:
    """Start ``clients`` clients that post the ``bodies`` in turn, each the next one as soon as the last is answered."""
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
    """Parse the output of wrk.

    Raises:
        WrkFailed: It has no result.
    """
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise WrkFailed(f"wrk printed no result: {output.strip()}")
    counted = json.loads(line.removeprefix(_MARK))
    seconds = counted["microseconds"] / 1e6
    # Without an answer in time, the latencies are only known to be longer.
    p50, p95, p99 = (counted[name] / 1000 if counted["requests"] else 1000 * seconds for name in ("p50", "p95", "p99"))
    return Load(counted["requests"], seconds, p50, p95, p99, counted["refused"], counted["broken"])

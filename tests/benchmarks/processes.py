"""Measure the processor time and memory of a server's process and its descendants."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import psutil

__all__ = ["ProcessTree"]

_IDLE_SHARE: Final = 0.05
_LOOK_SECONDS: Final = 0.5

Figure = TypeVar("Figure")


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """The process ``root`` and its descendants."""

    root: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the processor time used so far, in seconds, including that of ended descendants."""
        return sum(sum(times[:4]) for times in self._each(lambda process: tuple(process.cpu_times())))

    def pss_bytes(self) -> int:
        """Return the proportional set size in bytes: resident memory, with shared pages divided among their users."""
        return sum(self._each(_pss))

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until the processes are idle; return ``False`` if they are still busy after ``seconds``.

        A load generator disconnects at the end, but most servers still work on the requests that were sent.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(_LOOK_SECONDS)
            if self.cpu_seconds() - before < _IDLE_SHARE * _LOOK_SECONDS:
                return True
        return False

    def end(self) -> None:
        """Terminate the root process, and kill whatever is still running after 4 seconds."""
        processes = [self.root, *_descendants(self.root)]
        if self.root.is_running():
            self.root.terminate()
        psutil.wait_procs(processes, timeout=4)
        for process in processes:
            if process.is_running():
                process.kill()
        psutil.wait_procs(processes, timeout=10)

    def _each(self, figure: Callable[[psutil.Process], Figure]) -> list[Figure]:
        figures = []
        for process in (self.root, *_descendants(self.root)):
            try:
                figures.append(figure(process))
            except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                continue  # the process has ended meanwhile
        return figures


def _descendants(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _pss(process: psutil.Process) -> int:
    summary = Path(f"/proc/{process.pid}/smaps_rollup")
    if not summary.exists():  # macOS
        return int(process.memory_info().rss)
    line = next(line for line in summary.read_text(encoding="utf-8").splitlines() if line.startswith("Pss:"))
    return 1024 * int(line.split()[1])

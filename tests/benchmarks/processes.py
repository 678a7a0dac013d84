"""What a server costs: processor time and memory of its process and all that it started."""

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
        """Return the processor time used so far, in seconds, that of ended descendants included."""
        return sum(sum(times[:4]) for times in self._each(lambda process: tuple(process.cpu_times())))

    def pss_bytes(self) -> int:
        """Return the proportional set size in bytes: resident memory, shared pages shared out between their users."""
        return sum(self._each(_pss))

    def wait_until_idle(self, seconds: float) -> bool:
        """Return as soon as nothing is computed any more, ``False`` if that is not so after ``seconds``.

        A load generator hangs up at the end; requests that were sent already are still worked on by most servers.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(_LOOK_SECONDS)
            if self.cpu_seconds() - before < _IDLE_SHARE * _LOOK_SECONDS:
                return True
        return False

    def end(self) -> None:
        """End all processes: first with a request, then without."""
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
                continue  # ended in between
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

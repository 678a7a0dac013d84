"""Measure the processor time and the memory that a piece of work costs this process."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Cost", "cost_of"]

_FORGET: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Cost:
    """``seconds`` of processor time, and how many ``bytes`` the resident memory grew at most (0 if not on Linux)."""

    seconds: float
    bytes: int


def cost_of(work: Callable[[], object]) -> Cost:
    """Do ``work`` and return what it cost."""
    if _FORGET.exists():
        _FORGET.write_text("5")  # the peak begins anew, see proc(5)
    tracer = sys.gettrace()
    sys.settrace(None)  # that of 'make coverage' costs more than the work
    try:
        before, start = _resident("VmRSS"), time.process_time()
        work()
        return Cost(time.process_time() - start, max(0, _resident("VmHWM") - before))
    finally:
        sys.settrace(tracer)


def _resident(field: str) -> int:
    if not _STATUS.exists():
        return 0
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024

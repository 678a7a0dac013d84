"""How many CPU cores this process may really use."""

import math
import os
from pathlib import Path
from typing import Final

__all__ = ["usable_cores"]

_CGROUP: Final = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return the number of cores that the affinity mask and the control group leave to this process, at least 1.

    A share of a core counts as a core: with one thread less it would be idle.

    Args:
        cgroup: Where the control group of this process is mounted; in a container, its own.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota(cgroup))))


def _quota(cgroup: Path) -> float:
    """Return how many cores' time the control group grants, of either version; infinity where it sets no limit."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota, period = (
                (cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")
            )
        granted = math.inf if quota in {"max", "-1"} else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf
    return granted

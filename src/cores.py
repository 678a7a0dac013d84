"""The number of CPU cores that this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

__all__ = ["usable_cores"]

_HIERARCHY: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def usable_cores(hierarchy: Path = _HIERARCHY, membership: Path = _MEMBERSHIP) -> int:
    """Return the number of cores that the affinity mask and the control groups grant this process, at least 1.

    A fraction of a core counts as a core, which would otherwise be idle. A quota may be set on the process's own group
    or on any group above it; the smallest applies.

    Args:
        hierarchy: Where the control groups are mounted.
        membership: Lists the groups of this process, as in cgroups(7).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(map(_quota, _groups(hierarchy, membership)), default=math.inf)
    return max(1, math.ceil(min(cores, quota)))


def _groups(hierarchy: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders that may have a CPU quota of this process: its group and all above it, of either version.

    In a container the listed path may be the host's, which does not exist there: the root of the mount is the
    container's own group.
    """
    lines = membership.read_text(encoding="utf-8").splitlines() if membership.exists() else ["0::/", "1:cpu:/"]
    for number, controllers, path in (line.split(":", 2) for line in lines):
        if number == "0" or "cpu" in controllers.split(","):
            group = PurePosixPath(path.lstrip("/"))
            for above in (group, *group.parents):
                yield hierarchy / ("" if number == "0" else "cpu") / above


def _quota(group: Path) -> float:
    """Return the quota of ``group``, of either version, in cores; infinity if it sets no limit."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8").strip() for name in ("quota", "period")
            )
        return math.inf if quota in {"max", "-1"} else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf

"""How many cores the process may use."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from src.cores import usable_cores
from tests.places import ROOT

V2: Final = "0::{}\n"
V1: Final = "2:cpuset:/elsewhere\n1:cpu,cpuacct:{}\n0::/\n"
ROOT_GROUPS: Final = {
    "v2": (Path("/sys/fs/cgroup"), ("cpu.max",)),
    "v1": (Path("/sys/fs/cgroup/cpu"), ("cpu.cfs_period_us", "cpu.cfs_quota_us")),
}


def _mask(count: int) -> set[int]:
    return set(range(count))


def _v1(quota: str, group: str = "cpu") -> dict[str, str]:
    return {f"{group}/cpu.cfs_quota_us": quota, f"{group}/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (V2.format("/"), {}, 8),
        (V2.format("/"), {"cpu.max": "max 100000\n"}, 8),
        (V2.format("/"), {"cpu.max": "200000 100000\n"}, 2),
        (V2.format("/"), {"cpu.max": "250000 100000\n"}, 3),
        (V2.format("/"), {"cpu.max": "10000 100000\n"}, 1),
        (V2.format("/"), {"cpu.max": "1600000 100000\n"}, 8),
        (V2.format("/"), {"cpu.max": "damaged"}, 8),
        (V2.format("/a.slice/b.service"), {"a.slice/b.service/cpu.max": "200000 100000\n"}, 2),
        (V2.format("/a.slice/b.service"), {"a.slice/cpu.max": "300000 100000\n"}, 3),
        (
            V2.format("/a.slice/b.service"),
            {"a.slice/cpu.max": "300000 100000\n", "a.slice/b.service/cpu.max": "400000 100000\n"},
            3,
        ),
        (V2.format("/host/docker-1"), {"cpu.max": "200000 100000\n"}, 2),
        (V2.format("/a"), {"b/cpu.max": "200000 100000\n"}, 8),
        (V1.format("/"), _v1("-1\n"), 8),
        (V1.format("/"), _v1("150000\n"), 2),
        (V1.format("/batch/job"), _v1("150000\n", "cpu/batch/job"), 2),
        (V1.format("/batch/job"), _v1("150000\n", "cpu/batch"), 2),
        (V1.format("/host/docker-1"), _v1("150000\n"), 2),
        (None, {"cpu.max": "200000 100000\n"}, 2),
    ],
    ids=[
        "none", "no limit", "two", "two and a half", "a tenth", "more than there are", "damaged", "own group",
        "group above", "smallest of several", "path of the host", "other group", "v1 none", "v1", "v1 own group",
        "v1 group above", "v1 path of the host", "no list of groups",
    ],
)  # fmt: skip
def test_the_smallest_quota_of_the_control_groups_counts(
    membership: str | None, files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eight cores in the affinity mask as many are used as the group of the process, and those above it, grant."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: _mask(8), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    if membership is not None:
        (tmp_path / "membership").write_text(membership)
    assert usable_cores(tmp_path, tmp_path / "membership") == expected


@pytest.fixture
def half_a_core() -> Iterator[Path]:
    """A control group of this machine, of whichever version it has, that grants half a core."""
    for root, files in ROOT_GROUPS.values():
        group = root / f"usable-cores-{os.getpid()}"
        if not (root / "cgroup.procs").exists():
            continue
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for file in files:
                quota = {"cpu.max": "50000 100000", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}[file]
                (group / file).write_text(quota)
            yield group
        finally:
            group.rmdir()
        return
    pytest.skip("needs the right to make a control group")


def test_a_quota_that_this_machine_enforces_is_seen(half_a_core: Path) -> None:
    """A process in a group with half a core counts one core, though more are in its affinity mask."""
    code = (
        "import os, sys; open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()));"
        "from src.cores import usable_cores; print(usable_cores())"
    )
    command = [sys.executable, "-c", code, str(half_a_core)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown == "1\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_the_affinity_mask_counts() -> None:
    """A process that is bound to one core uses one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)

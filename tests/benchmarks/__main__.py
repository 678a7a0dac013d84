"""Measure this service, four other ways to serve the same network, and the limits of the machine, in one run.

Needs wrk (apt-get install wrk). Run nothing else on the machine meanwhile.
"""

import argparse
import dataclasses
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from src.cores import usable_cores
from tests.benchmarks.load import WrkFailed, find_wrk
from tests.benchmarks.plan import full_plan, quick_plan
from tests.benchmarks.plots import write_plots
from tests.benchmarks.progress import say
from tests.benchmarks.report import write_report
from tests.benchmarks.results import Machine, Results
from tests.benchmarks.run import run
from tests.places import ROOT

_PACKAGES: Final = ("torch", "openvino", "bentoml", "fastapi", "litserve", "grad-cam", "pillow")
_RESULTS: Final = "results.json"
_EXIT_FAILED: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 if wrk is missing."""
    options = _parser().parse_args(arguments)
    try:
        find_wrk()
    except WrkFailed as exc:
        sys.stderr.write(f"benchmark: {exc}\n")
        return _EXIT_FAILED
    options.out.mkdir(parents=True, exist_ok=True)
    results = (
        Results.read(options.out / _RESULTS)
        if options.redraw
        else _measured(options.out / _RESULTS, quick=options.quick)
    )
    results.write(options.out / _RESULTS)
    write_plots(results, options.out)
    say(f"written: {write_report(results, options.out)}")
    return 0


def _measured(file: Path, *, quick: bool) -> Results:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="image-recognition-benchmark-") as scratch:
        results = run(quick_plan() if quick else full_plan(), _machine(quick=quick), Path(scratch), file)
    minutes = (time.monotonic() - began) / 60
    return dataclasses.replace(results, machine=dataclasses.replace(results.machine, minutes=minutes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("benchmarks"),
        help="folder for report.md, results.json and plots (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure everything once, in about three minutes, for rough figures"
    )
    parser.add_argument("--redraw", action="store_true", help="only regenerate the report and plots from results.json")
    return parser


def _machine(*, quick: bool) -> Machine:
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory=psutil.virtual_memory().total / 1e9,
        python=platform.python_version(),
        packages={name: version(name) for name in _PACKAGES},
        commit=_commit(),
        date=datetime.now(UTC).date().isoformat(),
        quick=quick,
    )


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())

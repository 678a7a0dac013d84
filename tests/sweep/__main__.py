"""Check every architecture, or the named ones, and write a table of the results."""

import argparse
import atexit
import gc
import json
import multiprocessing
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from operator import itemgetter
from pathlib import Path
from typing import Any

os.environ.setdefault("BENTOML_HOME", tempfile.mkdtemp())
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

from src.cores import usable_cores
from tests.sweep.check import check
from tests.sweep.networks import ALL, LARGEST
from tests.sweep.table import table

_LINES = Path("sweep/results.jsonl")


def main() -> int:
    """Run the command; return 1 if a network failed."""
    warnings.simplefilter("ignore")  # the libraries' networks have warnings of their own
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("names", nargs="*", default=ALL, help="such as timm/test_vit (default: all)")
    parser.add_argument("--resume", action="store_true", help="skip what is already in sweep/results.jsonl")
    parser.add_argument("--table", type=Path, default=Path("sweep/architectures.md"), help="default: %(default)s")
    parser.add_argument("--together", action="store_true", help="check all in one process: faster for a few small ones")
    parser.add_argument("--stored", nargs="+", help="store and serve only these; only explain the others")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="networks at a time (default: %(default)s)")
    options = parser.parse_args()
    _LINES.parent.mkdir(exist_ok=True)
    if not options.resume:
        _LINES.unlink(missing_ok=True)
    done = _known()
    names = [name for name in options.names if name not in done]
    with _LINES.open("a", encoding="utf-8") as file:
        for row in (
            _together(names, options.stored) if options.together else _alone(names, options.stored, options.jobs)
        ):
            print(row, flush=True)
            file.write(json.dumps(row) + "\n")
            file.flush()
    rows = sorted(_known().values(), key=itemgetter("architecture"))
    options.table.write_text(table(rows), encoding="utf-8")
    failed = [row["architecture"] for row in rows if "failed" in row]
    print(f"{len(rows)} networks, {len(failed)} failed: {', '.join(failed) or 'none'}; table in {options.table}")
    return bool(failed)


def _together(names: Iterable[str], stored: list[str] | None) -> Iterator[dict[str, Any]]:
    for name in names:
        yield _checked(name, alone=False, stored=stored is None or name in stored)


def _alone(names: list[str], stored: list[str] | None, jobs: int) -> Iterator[dict[str, Any]]:
    """Check each in processes of its own, ``jobs`` networks at a time."""
    gc.freeze()  # or collections in every process would look through all that was imported
    atexit.register(gc.unfreeze)  # or triton complains of leaks
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        rows = [
            pool.submit(_checked, name, alone=True, stored=stored is None or name in stored) for name in _spread(names)
        ]
        yield from (row.result() for row in rows)


def _spread(names: list[str]) -> list[str]:
    """Return ``names`` with the largest far from each other, among the small ones of the second half."""
    spread = [name for name in names if name not in LARGEST]
    first, step = len(spread) // 2, len(spread) // (2 * len(LARGEST))
    for place, name in enumerate(sorted(LARGEST.intersection(names))):
        spread.insert(first + place * step, name)
    return spread


def _checked(name: str, *, alone: bool, stored: bool) -> dict[str, Any]:
    try:
        return check(name, alone=alone, stored=stored)
    except AssertionError as exc:
        return {"architecture": name, "failed": str(exc)}


def _known() -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in _LINES.read_text(encoding="utf-8").splitlines()] if _LINES.exists() else []
    return {row["architecture"]: row for row in rows}


if __name__ == "__main__":
    sys.exit(main())

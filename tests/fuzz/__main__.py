"""Decode many damaged files, and keep those that fail: ``python -m tests.fuzz --runs 200000``."""

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from tqdm import tqdm

from tests.fuzz.worker import Tally, judge_mutants, quiet

_BATCH: Final = 500


def main() -> int:
    """Run the command; return its exit code: 0, or 1 if an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000, help="inputs, in batches of 500 (default: 20000)")
    parser.add_argument("--seed", type=int, default=0, help="first seed of the random numbers (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of processes (default: one per core)")
    parser.add_argument("--keep", type=Path, default=Path("fuzz"), help="folder for inputs that fail (default: fuzz)")
    asked = parser.parse_args()
    asked.keep.mkdir(parents=True, exist_ok=True)
    start, tally = time.perf_counter(), Tally()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.jobs, mp_context=context, initializer=quiet) as pool:
        seeds = range(asked.seed, asked.seed + -(-asked.runs // _BATCH))
        futures = [pool.submit(judge_mutants, seed, _BATCH, asked.keep) for seed in seeds]
        for future in tqdm(as_completed(futures), total=len(futures), unit=f" x {_BATCH} inputs", disable=None):
            tally.merge(future.result())
    _report(tally, time.perf_counter() - start)
    return 1 if tally.failures else 0


def _report(tally: Tally, seconds: float) -> None:
    lines = [f"{name:5} {outcome:20} {number:8,}" for (name, outcome), number in sorted(tally.outcomes.items())]
    inputs = sum(tally.outcomes.values()) + len(tally.failures)
    cost = f"at most {tally.seconds:.2f} s of processor time and {tally.bytes / 1e6:.0f} MB per input"
    lines += [*tally.failures, f"{inputs:,} inputs in {seconds:.0f} s, {len(tally.failures)} failed; {cost}"]
    print(*lines, sep="\n")  # noqa: T201 - a command speaks to its user


if __name__ == "__main__":
    sys.exit(main())

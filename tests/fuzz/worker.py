"""Decode batches of damaged files, in one process of the fuzzer."""

import faulthandler
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from src.stages.decode import Enough
from tests.fuzz.judge import judge
from tests.fuzz.mutation import mutant
from tests.fuzz.seeds import make_seeds

__all__ = ["Tally", "judge_mutants", "quiet"]

_HANGING: Final = 60  # seconds; then the process ends with a traceback


@dataclass
class Tally:
    """Outcomes by format, the highest cost of an input, and the failures."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0
    bytes: int = 0
    failures: list[str] = field(default_factory=list)

    def merge(self, other: "Tally") -> None:
        """Add the outcomes of another batch."""
        self.outcomes.update(other.outcomes)
        self.seconds, self.bytes = max(self.seconds, other.seconds), max(self.bytes, other.bytes)
        self.failures += other.failures


def judge_mutants(seed: int, runs: int, folder: Path) -> Tally:
    """Judge ``runs`` inputs; each is in ``folder`` meanwhile, and stays there if it fails or ends the process."""
    rng, seeds, tally = random.Random(seed), make_seeds(), Tally()  # noqa: S311 - not secret, and the same in every run
    kept = folder / f"input-{seed}"
    for number in range(runs):
        name = rng.choice(list(seeds))
        data = mutant(rng, name, seeds)
        kept.write_bytes(data)
        faulthandler.dump_traceback_later(_HANGING, exit=True)
        try:
            outcome, cost = judge(data, rng.choice((None, Enough(8, 8))))
        except Exception as exc:  # noqa: BLE001 - any exception is a finding
            kept.replace(folder / f"failed-{seed}-{number}")
            tally.failures.append(f"{name}, failed-{seed}-{number}: {exc!r}")
            continue
        finally:
            faulthandler.cancel_dump_traceback_later()
        tally.outcomes[name, outcome] += 1
        tally.seconds, tally.bytes = max(tally.seconds, cost.seconds), max(tally.bytes, cost.bytes)
    kept.unlink(missing_ok=True)
    return tally


def quiet() -> None:
    """Discard the standard error output, to which libtiff writes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

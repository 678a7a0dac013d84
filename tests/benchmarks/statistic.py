"""Summarize repetitions as median and spread."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

__all__ = ["Spread"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, minimum and maximum of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Summarize ``values``, at least one."""
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))

    def __str__(self) -> str:
        if self.low == self.high:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)}-{number(self.high)})"


def number(value: float) -> str:
    """Return ``value`` with three significant digits, never in powers of ten."""
    if value == 0:
        return "0"
    digits = max(0, 2 - int(f"{abs(value):.2e}".partition("e")[2]))
    return f"{value:,.{min(digits, 6)}f}"

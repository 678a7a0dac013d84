"""What new values stay below: as often as promised, or with a certainty."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

__all__ = ["conformal_quantile", "tolerance_bound"]


def conformal_quantile(values: NDArray[np.float64], share: float) -> float | None:
    """Return what at least ``share`` of all new values stay at or below, if they are like the n ``values``.

    It is the ceil((n + 1) share)-th smallest of them; None where there are too few. Vovk et al., Algorithmic Learning
    in a Random World, 2005.
    """
    rank = math.ceil((len(values) + 1) * share - 1e-9)  # 0.9 is a little more than nine tenths
    return float(np.partition(values, rank - 1)[rank - 1]) if rank <= len(values) else None


def tolerance_bound(values: NDArray[np.float64], share: float, certainty: float) -> float:
    """Return what at least ``share`` of all new values stay at or below, with this ``certainty``.

    It is the smallest of the n ``values`` with enough of them at or below it, by the binomial distribution: Wilks,
    Annals of Mathematical Statistics 12, 1941. Where all of them are too few it is the largest.
    """
    below = np.arange(len(values))
    enough = bdtr(below, len(values), share) >= certainty
    return float(np.sort(values)[enough.argmax() if enough.any() else -1])

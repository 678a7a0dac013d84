"""Upper bounds for new values: a quantile, and a bound that holds with a given certainty."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

__all__ = ["conformal_quantile", "tolerance_bound"]


def conformal_quantile(values: NDArray[np.float64], share: float) -> float | None:
    """Return a bound that at least ``share`` of new values do not exceed, if they are distributed like the ``values``.

    It is the ceil((n + 1) share)-th smallest of the n values; None if they are too few. Vovk et al., Algorithmic
    Learning in a Random World, 2005.
    """
    rank = math.ceil((len(values) + 1) * share - 1e-9)  # the float 0.9 exceeds nine tenths slightly
    return float(np.partition(values, rank - 1)[rank - 1]) if rank <= len(values) else None


def tolerance_bound(values: NDArray[np.float64], share: float, certainty: float) -> float:
    """Return a bound that at least ``share`` of new values do not exceed, with this ``certainty``.

    It is the smallest of the n ``values`` with enough of them at or below it, by the binomial distribution; the
    largest if n is too small. Wilks, Annals of Mathematical Statistics 12, 1941.
    """
    below = np.arange(len(values))
    enough = bdtr(below, len(values), share) >= certainty
    return float(np.sort(values)[enough.argmax() if enough.any() else -1])

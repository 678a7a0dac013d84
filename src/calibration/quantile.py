"""The quantile of split-conformal prediction: what a new value stays below as often as promised."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["conformal_quantile"]


def conformal_quantile(values: NDArray[np.float64], share: float) -> float | None:
    """Return what at least ``share`` of all new values stay at or below, if they are like the n ``values``.

    It is the ceil((n + 1) share)-th smallest of them; None where there are too few. Vovk et al., Algorithmic Learning
    in a Random World, 2005.
    """
    rank = math.ceil((len(values) + 1) * share - 1e-9)  # 0.9 is a little more than nine tenths
    return float(np.partition(values, rank - 1)[rank - 1]) if rank <= len(values) else None

"""The conformal quantile and the tolerance bound."""

import math
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest

from src.calibration.quantile import conformal_quantile, tolerance_bound


@pytest.mark.parametrize("percent", [50, 80, 90, 95, 99])
@pytest.mark.parametrize("count", [9, 19, 50, 99, 100, 1000])
def test_the_quantile_is_the_smallest_value_with_enough_values_below_it(count: int, percent: int) -> None:
    """In exact fractions, it is the smallest value that at least (n + 1) share of the n values do not exceed."""
    values = np.random.default_rng(count).normal(size=count)
    wanted = math.ceil(Fraction(percent, 100) * (count + 1))
    enough = [value for value in values if (values <= value).sum() >= wanted]
    assert conformal_quantile(values, percent / 100) == (min(enough) if enough else None)


def test_new_values_stay_below_the_quantile_as_often_as_requested(rng: np.random.Generator) -> None:
    """Over many draws of a few values, new ones stay below in at least 90 % of them, and at most 1 / (n + 1) more."""
    drawn = rng.normal(size=(20_000, 60))
    found = [value <= (conformal_quantile(row[1:], 0.9) or np.inf) for row in drawn for value in row[:1]]
    assert 0.895 < np.mean(found) < 0.9 + 1 / 60 + 0.005


@pytest.mark.parametrize(("count", "rank"), [(50, 50), (90, 90), (91, 91), (161, 160), (221, 219), (1000, 982)])
def test_the_bound_is_the_smallest_value_with_enough_certainty(count: int, rank: int, rng: np.random.Generator) -> None:
    """By exact binomial sums, it is too low with a probability of at most 10 %, or else the largest value."""
    values = rng.normal(size=count)

    chances = [math.comb(count, below) * 0.975**below * 0.025 ** (count - below) for below in range(count)]
    assert tolerance_bound(values, 0.975, 0.9) == np.sort(values)[rank - 1]
    certainties = enumerate(accumulate(chances), 1)
    assert rank == next((place for place, certainty in certainties if certainty >= 0.9), count)

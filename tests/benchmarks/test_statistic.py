"""Medians, spreads and the format of numbers."""

import pytest

from tests.benchmarks.statistic import Spread, number


def test_a_spread_has_median_minimum_and_maximum() -> None:
    """A single value is shown without a range."""
    assert Spread.of([3, 1, 8]) == Spread(3, 1, 8)
    assert str(Spread.of([3, 1, 8])) == "3.00 (1.00-8.00)"
    assert str(Spread.of([12.34])) == "12.3"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.012345, "0.0123"),
        (1.5, "1.50"),
        (99.96, "100"),
        (123.4, "123"),
        (1234.5, "1,234"),
        (-5.25, "-5.25"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    """Thousands are separated, and powers of ten are not used."""
    assert number(value) == text

"""Percentages, the number of listed classes, and the class that a target names."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import InvalidRequest, UnknownClass
from src.stages.predict import find_class, listed_classes, predict

LABELS = ("bus", "car", "crane", "crane", "7")
LOGITS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=300)


def _labels(count: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(count))


def _exact(value: float | None) -> Decimal:
    """Return ``value`` as written in an answer, without the sign of a negative zero."""
    assert value is not None
    assert math.copysign(1, value) == 1
    return Decimal(str(value))


@given(LOGITS)
def test_all_classes_sum_to_one_hundred(logits: list[float]) -> None:
    """The percentages of all classes sum to exactly 100 in decimal arithmetic, leaving nothing for others."""
    prediction = predict(np.array(logits, np.float32), _labels(len(logits)), len(logits))
    assert sum(_exact(score.percent) for score in prediction.top) == 100
    assert _exact(prediction.other) == 0


@given(LOGITS, st.integers(1, 10))
def test_listed_and_others_sum_to_one_hundred(logits: list[float], top_k: int) -> None:
    """The listed percentages and the rest sum to exactly 100, however few are listed."""
    prediction = predict(np.array(logits, np.float32), _labels(len(logits)), min(top_k, len(logits)))
    assert sum(_exact(score.percent) for score in prediction.top) + _exact(prediction.other) == 100


@given(LOGITS)
def test_percentages_are_the_softmax(logits: list[float]) -> None:
    """Each percentage is 100 times the softmax, with three decimals, highest first."""
    prediction = predict(np.array(logits, np.float32), _labels(len(logits)), len(logits))
    values = np.asarray(logits, dtype=np.float32).astype(np.float64)
    softmax = np.exp(values - values.max()) / np.exp(values - values.max()).sum()
    listed = [score.percent for score in prediction.top]
    np.testing.assert_allclose(listed, 100 * softmax[[score.index for score in prediction.top]], atol=1.001e-3)
    assert listed == sorted(listed, reverse=True)
    assert all(round(percent, 3) == percent for percent in listed)


@given(LOGITS, st.integers(1, 10))
def test_a_percentage_differs_by_a_thousandth_at_most_between_values_of_top_k(logits: list[float], top_k: int) -> None:
    """The rounding depends on how many classes are listed; their order does not."""
    values, labels = np.array(logits, np.float32), _labels(len(logits))
    few, everything = (predict(values, labels, count).top for count in (min(top_k, len(logits)), len(logits)))
    assert [score.index for score in few] == [score.index for score in everything[: len(few)]]
    for one, other in zip(few, everything, strict=False):
        assert abs(_exact(one.percent) - _exact(other.percent)) <= Decimal("0.001")


@pytest.mark.parametrize(
    ("top_k", "listed", "other"),
    [(1, [33.333], 66.667), (2, [33.334, 33.333], 33.333), (3, [33.334, 33.333, 33.333], 0.0)],
)
def test_thirds_are_rounded_to_a_sum_of_one_hundred(top_k: int, listed: list[float], other: float) -> None:
    """The rounding error is added to the first of the classes that lost most."""
    prediction = predict(np.zeros(3, np.float32), _labels(3), top_k)
    assert ([score.percent for score in prediction.top], prediction.other) == (listed, other)


def test_others_are_the_sum_of_all_that_are_not_listed() -> None:
    """A thousand unlikely classes, each of which would round to zero, are not lost together."""
    likelihoods = np.array([0.6, 0.1, *[0.3 / 99_998] * 99_998])
    prediction = predict(np.log(likelihoods).astype(np.float32), _labels(100_000), 2)
    assert ([score.percent for score in prediction.top], prediction.other) == ([60.0, 10.0], 30.0)


def test_equally_likely_classes_are_ordered_by_index() -> None:
    """The one with the lower index comes first."""
    assert [score.index for score in predict(np.zeros(3, np.float32), _labels(3), 3).top] == [0, 1, 2]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_an_error(value: float) -> None:
    """A network that returns NaN or infinity is an error, not a prediction."""
    with pytest.raises(FloatingPointError):
        predict(np.array([0.0, value], np.float32), _labels(2), 1)


@pytest.mark.parametrize(("top_k", "classes", "expected"), [(None, 2, 2), (None, 1000, 5), (1, 2, 1), (2, 2, 2)])
def test_five_classes_are_listed_by_default(top_k: int | None, classes: int, expected: int) -> None:
    """Five classes are listed by default, all if there are fewer, otherwise as many as requested."""
    assert listed_classes(top_k, _labels(classes)) == expected


@pytest.mark.parametrize("top_k", [0, -1, 3])
def test_top_k_out_of_range_is_refused(top_k: int) -> None:
    """A number of classes that the model cannot list is an error with the valid range."""
    with pytest.raises(InvalidRequest, match="ask for 1 to 2"):
        listed_classes(top_k, _labels(2))


@pytest.mark.parametrize(("target", "expected"), [(None, None), ("car", 1), (0, 0), (4, 4), ("7", 4)], ids=repr)
def test_a_target_is_a_label_or_an_index(target: str | int | None, expected: int | None) -> None:
    """A text is a label, even if it consists of digits, and a number is an index."""
    assert find_class(target, LABELS) == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("buss", "did you mean 'bus'"),
        ("zebra", "GET /model lists the classes"),
        ("crane", r"2 classes are called 'crane': name one by its index, \[2, 3\]"),
        (5, "numbered 0 to 4"),
        (-1, "numbered 0 to 4"),
        ("9" * 5000, "There is no class"),
        ("0", "There is no class"),
        ("", "There is no class"),
    ],
    ids=["similar", "unknown", "ambiguous", "high", "negative", "huge", "digits", "empty"],
)
def test_an_unknown_class_is_explained(target: str | int, message: str) -> None:
    """A target that matches no class, or two, is an error that helps to name one."""
    with pytest.raises(UnknownClass, match=message) as caught:
        find_class(target, LABELS)
    assert len(caught.value.message) < 300

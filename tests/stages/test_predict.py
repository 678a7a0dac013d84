"""Percentages, the number of listed classes, and the class that a target names."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iteround import saferound

from src.errors import InvalidRequest, UnknownClass
from src.stages.predict import find_class, listed_classes, predict

LABELS = ("bus", "car", "crane", "crane", "7")
LOGITS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=300)


def _labels(count: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(count))


@given(LOGITS)
def test_all_classes_sum_to_one_hundred(logits: list[float]) -> None:
    """The percentages of all classes sum to exactly 100 in decimal arithmetic, and nothing is left for others."""
    prediction = predict(np.array(logits, np.float32), _labels(len(logits)), len(logits))
    assert sum(Decimal(str(score.percent)) for score in prediction.top) == 100
    assert prediction.other == 0


@given(LOGITS, st.integers(1, 10))
def test_listed_and_others_sum_to_one_hundred(logits: list[float], top_k: int) -> None:
    """What is listed and what is left sum to exactly 100, however few are listed."""
    prediction = predict(np.array(logits, np.float32), _labels(len(logits)), min(top_k, len(logits)))
    assert sum(Decimal(str(score.percent)) for score in prediction.top) + Decimal(str(prediction.other)) == 100
    assert prediction.other >= 0


@given(LOGITS)
def test_percentages_are_the_softmax(logits: list[float]) -> None:
    """Each percentage is 100 times the softmax, written with three decimals, highest first."""
    prediction = predict(np.array(logits, np.float32), _labels(len(logits)), len(logits))
    values = np.asarray(logits, dtype=np.float32).astype(np.float64)
    softmax = np.exp(values - values.max()) / np.exp(values - values.max()).sum()
    listed = [score.percent for score in prediction.top]
    np.testing.assert_allclose(listed, 100 * softmax[[score.index for score in prediction.top]], atol=1.001e-3)
    assert listed == sorted(listed, reverse=True)
    assert all(round(percent, 3) == percent for percent in listed)


def test_a_percentage_does_not_depend_on_how_many_are_listed() -> None:
    """The same class has the same percentage whether one class is listed or all."""
    logits = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    everything = predict(logits, _labels(1000), 1000)
    assert predict(logits, _labels(1000), 1).top == everything.top[:1]


def test_equal_classes_come_in_their_order() -> None:
    """Of classes that are equally likely the one with the lower index comes first."""
    assert [score.index for score in predict(np.zeros(3, np.float32), _labels(3), 3).top] == [0, 1, 2]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_an_error(value: float) -> None:
    """A network that answers NaN or infinity is a fault, not a prediction."""
    with pytest.raises(FloatingPointError):
        predict(np.array([0.0, value], np.float32), _labels(2), 1)


@given(LOGITS)
def test_rounding_is_that_of_saferound(logits: list[float]) -> None:
    """Every percentage is the one that iteround.saferound gives, with three decimals and a sum of 100."""
    prediction = predict(np.array(logits, np.float32), _labels(len(logits)), len(logits))
    values = np.asarray(logits, dtype=np.float32).astype(np.float64)
    softmax = np.exp(values - values.max()) / np.exp(values - values.max()).sum()
    rounded = saferound((100 * softmax).tolist(), 3, topline=100.0)
    assert [score.percent for score in prediction.top] == sorted(rounded, reverse=True)


@pytest.mark.parametrize(("top_k", "classes", "expected"), [(None, 2, 2), (None, 1000, 5), (1, 2, 1), (2, 2, 2)])
def test_five_classes_are_listed_or_all(top_k: int | None, classes: int, expected: int) -> None:
    """Five classes are listed by default, all where there are fewer, otherwise as many as asked for."""
    assert listed_classes(top_k, _labels(classes)) == expected


@pytest.mark.parametrize("top_k", [0, -1, 3])
def test_more_classes_than_there_are_cannot_be_listed(top_k: int) -> None:
    """A number of classes that the model cannot list is an error that tells the range."""
    with pytest.raises(InvalidRequest, match="ask for 1 to 2"):
        listed_classes(top_k, _labels(2))


@pytest.mark.parametrize(("target", "expected"), [(None, None), ("car", 1), (0, 0), (4, 4), ("7", 4)], ids=repr)
def test_a_target_is_a_label_or_an_index(target: str | int | None, expected: int | None) -> None:
    """A text is a label, also where it consists of digits, and a number is an index."""
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
    """A target that names no class, or two, is an error that helps to name one."""
    with pytest.raises(UnknownClass, match=message) as caught:
        find_class(target, LABELS)
    assert len(caught.value.message) < 300

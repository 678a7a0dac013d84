"""Turn logits into percentages, which sum to 100 if the classes exclude each other."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from iteround import saferound
from numpy.typing import NDArray

from src.errors import InvalidRequest, UnknownClass
from src.stages.output_spec import OutputSpec

__all__ = ["ClassScore", "Prediction", "find_class", "listed_classes", "predict", "scores_of"]

_PLACES: Final = 3  # decimals of a percentage
_DEFAULT_TOP_K: Final = 5
_MAX_LABEL: Final = 100
_SOFTMAX: Final = OutputSpec()


@dataclass(frozen=True, slots=True)
class ClassScore:
    """A class and its percentage, 0 to 100 in steps of 0.001."""

    label: str
    index: int
    percent: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most likely classes, most likely first, and the percentage of all others; together exactly 100.

    The percentages of a multi-label network are independent: ``other`` is None, and ``seen`` names the classes above
    their thresholds, most likely first, whether they are listed or not.
    """

    top: tuple[ClassScore, ...]
    other: float | None
    seen: tuple[str, ...] | None = None


def predict(
    logits: NDArray[np.float32], labels: tuple[str, ...], top_k: int, output: OutputSpec = _SOFTMAX
) -> Prediction:
    """Turn ``logits`` (C,) into the ``top_k`` largest percentages, as ``output`` says, and the sum of the others.

    Percentages that sum to 100 are rounded together, by ``iteround.saferound``, to keep their sum: a percentage may
    differ by 0.001 between two values of ``top_k``.

    Raises:
        FloatingPointError: A logit is infinite or not a number.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("the network returned logits that are not finite")
    percents = output.percents(logits)
    order = np.argsort(-logits, kind="stable")
    if not output.exclusive:
        above = output.seen(percents)
        seen = tuple(labels[index] for index in order.tolist() if above[index])
        return Prediction(scores_of(order[:top_k].tolist(), percents, labels), None, seen)
    indices = order[:top_k].tolist()
    listed = percents[indices].tolist()
    others = [max(0.0, 100 - sum(listed))] if top_k < len(labels) else []
    rounded = saferound([*listed, *others], _PLACES, topline=100.0)
    other = rounded.pop() if others else 0.0
    # Rounding may lower the first of two equal classes; sorting corrects that.
    top = zip(indices, sorted(rounded, reverse=True), strict=True)
    return Prediction(tuple(ClassScore(labels[index], index, percent) for index, percent in top), other)


def scores_of(indices: Iterable[int], percents: NDArray[np.float64], labels: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """Return each class of ``indices`` with its percentage from ``percents`` (C,), rounded independently."""
    return tuple(ClassScore(labels[index], index, round(float(percents[index]), _PLACES)) for index in indices)


def listed_classes(top_k: int | None, labels: tuple[str, ...]) -> int:
    """Return how many classes to list: ``top_k``, or by default five, or all if there are fewer.

    Raises:
        InvalidRequest: ``top_k`` is less than 1 or more than the number of classes.
    """
    if top_k is None:
        return min(_DEFAULT_TOP_K, len(labels))
    if not 1 <= top_k <= len(labels):
        raise InvalidRequest(
            f"top_k is {str(top_k)[:_MAX_LABEL]}, but the model has {len(labels)} classes: ask for 1 to {len(labels)}."
        )
    return top_k


def find_class(target: str | int | None, labels: tuple[str, ...]) -> int | None:
    """Return the index of the class that ``target`` names by its label or index.

    Raises:
        UnknownClass: There is no such class, or more than one with that label.
    """
    if isinstance(target, int) and not 0 <= target < len(labels):
        raise UnknownClass(
            f"There is no class {str(target)[:_MAX_LABEL]}: the classes are numbered 0 to {len(labels) - 1}."
        )
    if not isinstance(target, str):
        return target
    indices = [index for index, label in enumerate(labels) if label == target]
    if len(indices) == 1:
        return indices[0]
    if indices:
        raise UnknownClass(f"{len(indices)} classes are called {target!r}: name one by its index, {indices}.")
    similar = difflib.get_close_matches(target[:_MAX_LABEL], labels, n=3)
    hint = f"did you mean {' or '.join(map(repr, similar))}?" if similar else "GET /model lists the classes."
    raise UnknownClass(f"There is no class {target[:_MAX_LABEL]!r}: {hint}")

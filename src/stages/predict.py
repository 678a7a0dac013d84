"""Features -> logits -> percentages that sum to 100."""

import difflib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from src.errors import InvalidRequest, UnknownClass

__all__ = ["ClassScore", "Prediction", "find_class", "listed_classes", "predict"]

_STEPS: Final = 1000  # of a percent: three decimals
_DEFAULT_TOP_K: Final = 5
_MAX_LABEL: Final = 100


@dataclass(frozen=True, slots=True)
class ClassScore:
    """A class and its percentage, 0 to 100 in steps of 0.001."""

    label: str
    index: int
    percent: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most likely classes, most likely first, and the percentage of all others; together exactly 100."""

    top: tuple[ClassScore, ...]
    other: float


def predict(logits: NDArray[np.float32], labels: tuple[str, ...], top_k: int) -> Prediction:
    """Turn ``logits`` (C,) into percentages, ``100 * softmax(logits)``, rounded so that all C together sum to 100.

    Raises:
        FloatingPointError: A logit is infinite or not a number.
    """
    scores = logits.astype(np.float64)
    if not np.isfinite(scores).all():
        raise FloatingPointError("the network gave logits that are not finite")
    likelihoods = np.exp(scores - scores.max())
    steps = _rounded(likelihoods * (100 * _STEPS / likelihoods.sum()))
    # Rounding keeps the order of the classes but may lower the first of equal ones: sorting puts that right.
    steps[::-1].sort()
    top = tuple(
        ClassScore(labels[index], index, step / _STEPS)
        for index, step in zip(_largest(scores, top_k).tolist(), steps[:top_k].tolist(), strict=True)
    )
    return Prediction(top, int(steps[top_k:].sum()) / _STEPS)


def _rounded(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round ``values``, none negative, to whole numbers that have the same sum, which is a whole number.

    Each is rounded to the nearest, then those that lost or gained most are put right: the method of largest remainders,
    as ``iteround.saferound`` does it.
    """
    nearest = np.rint(values)
    missing = round(values.sum() - nearest.sum())
    lost = values - nearest
    if missing:
        nearest[_largest(lost if missing > 0 else -lost, abs(missing))] += np.sign(missing)
    return nearest.astype(np.int64)


def _largest(values: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Return the indices of the ``count`` largest values, largest first, of equal ones the first first."""
    least = np.partition(values, -count)[-count]
    candidates = np.flatnonzero(values >= least)
    order: NDArray[np.intp] = candidates[np.argsort(-values[candidates], kind="stable")]
    return order[:count]


def listed_classes(top_k: int | None, labels: tuple[str, ...]) -> int:
    """Return how many classes to list: ``top_k``, or by default five (all, where the model has fewer).

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
        UnknownClass: There is no such class, or more than one of that name.
    """
    if not isinstance(target, str):
        return _checked_index(target, labels)
    indices = [index for index, label in enumerate(labels) if label == target]
    if len(indices) == 1:
        return indices[0]
    if indices:
        raise UnknownClass(f"{len(indices)} classes are called {target!r}: name one by its index, {indices}.")
    similar = difflib.get_close_matches(target[:_MAX_LABEL], labels, n=3)
    hint = f"did you mean {' or '.join(map(repr, similar))}?" if similar else "GET /model lists the classes."
    raise UnknownClass(f"There is no class {target[:_MAX_LABEL]!r}: {hint}")


def _checked_index(index: int | None, labels: tuple[str, ...]) -> int | None:
    if index is not None and not 0 <= index < len(labels):
        raise UnknownClass(
            f"There is no class {str(index)[:_MAX_LABEL]}: the classes are numbered 0 to {len(labels) - 1}."
        )
    return index

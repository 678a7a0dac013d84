"""Features -> logits -> percentages that sum to 100."""

import difflib
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import torch
from iteround import saferound
from torch import nn

from src.errors import InvalidRequest, UnknownClass

__all__ = ["ClassScore", "Evaluation", "Prediction", "evaluate", "find_class", "listed_classes", "predict"]

_PLACES: Final = 3
_DEFAULT_TOP_K: Final = 5
_MAX_LABEL: Final = 100


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One run of the head on one picture: ``features`` (1, K, h, w) and the ``logits`` (C,) computed from them."""

    features: torch.Tensor
    logits: torch.Tensor


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


def evaluate(head: nn.Module, features: torch.Tensor, *, differentiable: bool) -> Evaluation:
    """Run ``head`` once on ``features`` (1, K, h, w).

    With ``differentiable`` the logits remember how they came from the features, which Grad-CAM needs.
    """
    if not differentiable:
        with torch.inference_mode():
            return Evaluation(features, head(features)[0])
    leaf = features.detach().requires_grad_()
    with torch.enable_grad():
        return Evaluation(leaf, head(leaf.clone())[0])  # the head may begin with an operation in place


def predict(logits: torch.Tensor, labels: tuple[str, ...], top_k: int) -> Prediction:
    """Turn ``logits`` (C,) into percentages, ``100 * softmax(logits)``, rounded so that all C together sum to 100.

    Raises:
        FloatingPointError: A logit is infinite or not a number.
    """
    scores = logits.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(scores).all()):
        raise FloatingPointError("the network gave logits that are not finite")
    rounded = saferound((100 * scores.softmax(0)).tolist(), _PLACES, topline=100.0)
    # Rounding keeps the order of the classes but may lower the first of equal ones: sorting puts that right.
    percents = sorted(rounded, reverse=True)
    ranked = scores.argsort(descending=True, stable=True)[:top_k].tolist()
    top = tuple(ClassScore(labels[index], index, percent) for index, percent in zip(ranked, percents, strict=False))
    return Prediction(top, float(100 - sum(Decimal(str(score.percent)) for score in top)))


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

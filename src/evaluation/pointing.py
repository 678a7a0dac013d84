"""Compose images of two known objects, and measure how often each class's heat lies on its own half."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from src.options import Method
from src.pipeline import Pipeline, heatmap

__all__ = ["Known", "Pointing", "compose", "on_half", "play"]


@dataclass(frozen=True, slots=True)
class Known:
    """An image in the network's input size, ``pixels`` (H, W, C), and the index of its class."""

    pixels: NDArray[np.uint8]
    class_index: int


@dataclass(frozen=True, slots=True)
class Pointing:
    """The share of ``heats`` heatmaps whose maximum lies on the half of their class, and the mean share of the heat.

    By chance, both are 0.5. A heatmap without evidence lies on neither half.
    """

    heats: int
    hits: float
    energy: float


def compose(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (H, W, C) with the middle columns of two images of that size side by side."""
    width = left.shape[1]
    half = width // 2
    start, rest = (width - half) // 2, half // 2
    return np.concatenate((left[:, start : start + half], right[:, rest : rest + width - half]), axis=1)


def on_half(heat: NDArray[np.float32], *, left: bool) -> tuple[float, float]:
    """Return the share of the maximum of ``heat`` (h, w) on a half, and the share of its sum, both 0 to 1.

    The middle column of an odd number counts half for each side; equal maxima count equally.
    """
    share = np.clip(heat.shape[1] / 2 - np.arange(heat.shape[1]), 0, 1)
    share = share if left else share[::-1]
    if not heat.any():
        return 0.0, 0.0
    columns, hottest = heat.sum(axis=0, dtype=np.float64), (heat == heat.max()).nonzero()[1]
    return float(share[hottest].mean()), float(columns @ share / columns.sum())


def play(pipeline: Pipeline, known: Sequence[Known]) -> dict[Method, Pointing]:
    """Compose every ordered pair of images of two classes, and score where each class's heat lies, for each method.

    This is the pointing game of Zhang et al., Excitation Backprop, https://arxiv.org/abs/1608.00507, on composed images
    as in Böhle et al., Convolutional Dynamic Alignment Networks, https://arxiv.org/abs/2104.00032.
    """
    found = [scores for pair in _pairs(known) for scores in _scores(pipeline, *pair)]
    if not found:
        return {}
    means = np.mean(found, axis=0)
    return {
        method: Pointing(len(found), float(hits), float(energy))
        for method, (hits, energy) in zip(Method, means, strict=True)
    }


def _pairs(known: Sequence[Known]) -> Iterator[tuple[Known, Known]]:
    return ((one, other) for one, other in permutations(known, 2) if one.class_index != other.class_index)


def _scores(pipeline: Pipeline, left: Known, right: Known) -> Iterator[list[tuple[float, float]]]:
    """Yield the hit and energy of each method, for the class on the left and the one on the right."""
    evaluation = pipeline.runtime.evaluate(compose(left.pixels, right.pixels))
    for known in (left, right):
        yield [on_half(heatmap(evaluation, method, known.class_index).values, left=known is left) for method in Method]

"""Logits and features of labeled images, and their folds for cross-validation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOLDS", "Samples", "folds"]

FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Samples:
    """Logits (N, C), pooled features (N, K) and class (N,), 0 to C - 1, of N images.

    If images can belong to several classes, the class of every image is 0.
    """

    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, chosen: NDArray[np.bool_]) -> "Samples":
        """Return the samples that are ``chosen``, (N,)."""
        return Samples(self.logits[chosen], self.features[chosen], self.targets[chosen])


def folds(targets: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    """Yield a mask (N,) for each of five parts of the images; each part has its share of each class.

    The parts are random, with a fixed seed.
    """
    order = np.random.default_rng(0).permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    part = np.empty(len(targets), np.int64)
    part[order] = np.arange(len(targets)) % FOLDS
    for number in range(FOLDS):
        yield part == number

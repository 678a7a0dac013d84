"""What a network makes of labelled images, and parts of them that take turns in judging a fit to the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOLDS", "Samples", "folds"]

FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Samples:
    """Of N images the logits (N, C), the pooled features (N, K) and the class that each is of, (N,), 0 to C - 1.

    Where an image may be of several classes there is one class of all images, 0.
    """

    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, chosen: NDArray[np.bool_]) -> "Samples":
        """Return those that are ``chosen``, (N,)."""
        return Samples(self.logits[chosen], self.features[chosen], self.targets[chosen])


def folds(targets: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    """Yield, for each of five parts of the images, which ones it has, (N,); each part has its share of each class.

    They are chosen at random, always in the same way.
    """
    order = np.random.default_rng(0).permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    part = np.empty(len(targets), np.int64)
    part[order] = np.arange(len(targets)) % FOLDS
    for number in range(FOLDS):
        yield part == number

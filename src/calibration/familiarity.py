"""Where the images of each class lie among a network's features, learned from images."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from src.stages.confidence import Familiarity

__all__ = ["FEWEST_OF_CLASS", "distances", "fit_familiarity", "has_enough_of_each"]

FEWEST_OF_CLASS: Final = 10
_DIMENSIONS: Final = 256  # more would cost more than 0.3 ms an image
_SHRINKAGE: Final = 0.1
_SMALLEST: Final = 1e-12


def has_enough_of_each(targets: NDArray[np.int64], classes: int) -> bool:
    """Whether ``targets`` (N,) has ten images of each class: a class without would always be unfamiliar."""
    return bool(np.bincount(targets, minlength=classes).min() >= FEWEST_OF_CLASS)


def fit_familiarity(features: NDArray[np.float32], targets: NDArray[np.int64], classes: int) -> Familiarity:
    """Return the Gaussians of the ``classes``, from features (N, K) and the class that each is of, (N,).

    Features of more than 256 dimensions are projected to 256 of them. The covariance is that around the mean of each
    class, shrunk by a tenth towards a multiple of the identity.
    """
    unit = _unit(features)
    projection = _projection(unit.shape[1])
    inside = unit @ projection
    means = np.stack([inside[targets == index].mean(axis=0) for index in range(classes)])
    apart = inside - means[targets]
    covariance = apart.T @ apart / len(apart)
    round_one = max(np.trace(covariance) / len(covariance), _SMALLEST) * np.eye(len(covariance))
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * round_one
    whitening = solve_triangular(np.linalg.cholesky(covariance), np.eye(len(covariance)), lower=True).T
    return Familiarity((projection @ whitening).astype(np.float32), (means @ whitening).astype(np.float32))


def distances(familiarity: Familiarity, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the squared Mahalanobis distance of each image to the nearest class, (N,), from features (N, K)."""
    return np.array([familiarity.distance(one) for one in features])


def _unit(features: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = features.astype(np.float64)
    unit: NDArray[np.float64] = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), _SMALLEST)
    return unit


def _projection(width: int) -> NDArray[np.float64]:
    """Return 256 directions (K, D) at random, always the same ones; all of them where there are no more.

    What is unfamiliar differs from the classes where these hardly vary: principal components would leave that out.
    """
    if width <= _DIMENSIONS:
        return np.eye(width)
    directions, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(width, _DIMENSIONS)))
    return directions

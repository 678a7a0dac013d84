"""Fit a Gaussian to the features of each class, to recognize images that resemble none of them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from src.stages.confidence import Familiarity

__all__ = ["FEWEST_OF_CLASS", "distances", "fit_familiarity", "has_enough_of_each"]

FEWEST_OF_CLASS: Final = 10
_DIMENSIONS: Final = 256  # more would cost over 0.3 ms per image
_SHRINKAGE: Final = 0.1
_SMALLEST: Final = 1e-12


def has_enough_of_each(targets: NDArray[np.int64], classes: int) -> bool:
    """Return whether ``targets`` (N,) has ten images of each class; a class without any would always be unfamiliar."""
    return bool(np.bincount(targets, minlength=classes).min() >= FEWEST_OF_CLASS)


def fit_familiarity(features: NDArray[np.float32], targets: NDArray[np.int64], classes: int) -> Familiarity:
    """Return the Gaussians of the ``classes``, from features (N, K) and the class of each image, (N,).

    More than 256 features are reduced to 256 signed sums, chosen at random with a fixed seed. (Principal components
    would omit the directions in which the classes hardly vary, and those are where other images differ.) The
    covariance is taken around the mean of each class and shrunk by a tenth toward a multiple of the identity.
    """
    places, signs = _sums(features.shape[1])
    size = int(places.max()) + 1
    blank = Familiarity(places, signs, np.eye(size, dtype=np.float32), np.zeros((classes, size), np.float32))
    points = np.stack([blank.sums(one) for one in features]).astype(np.float64)
    means = np.stack([points[targets == index].mean(axis=0) for index in range(classes)])
    apart = points - means[targets]
    covariance = apart.T @ apart / len(apart)
    round_one = max(np.trace(covariance) / size, _SMALLEST) * np.eye(size)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * round_one
    whitening = solve_triangular(np.linalg.cholesky(covariance), np.eye(size), lower=True).T
    return Familiarity(places, signs, whitening.astype(np.float32), (means @ whitening).astype(np.float32))


def distances(familiarity: Familiarity, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the squared Mahalanobis distance of each image to the nearest class, (N,), from features (N, K)."""
    return np.array([familiarity.distance(one) for one in features])


def _sums(width: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the sum that each of ``width`` features belongs to, out of at most 256, and its sign."""
    if width <= _DIMENSIONS:
        return np.arange(width), np.ones(width, np.float32)
    rng = np.random.default_rng(0)
    places = rng.permutation(width) % _DIMENSIONS
    return places, rng.choice(np.array([-1, 1], np.float32), width)

"""Where classes lie among features, against scipy's Mahalanobis distance."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis

from src.calibration.familiarity import distances, fit_familiarity, has_enough_of_each
from src.stages.confidence import Familiarity


def clusters(
    rng: np.random.Generator, images: int, width: int, rank: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return positive features (N, K) of three classes that vary in ``rank`` directions, and the classes."""
    targets = np.arange(images) % 3
    centers, mixing = rng.random((3, width)) * 5 + 5, rng.normal(size=(rank, width)) / np.sqrt(rank)
    return (centers[targets] + rng.normal(size=(images, rank)) @ mixing).astype(np.float32), targets


@pytest.mark.parametrize("width", [7, 280])
def test_the_distance_is_that_of_mahalanobis(width: int, rng: np.random.Generator) -> None:
    """It is the least over the classes of scipy's distance, squared, of the features that are scaled to length 1.

    Those of 280 dimensions vary in 20 alone, so that their 256 principal components lose nothing.
    """
    features, targets = clusters(rng, 300, width, min(width, 20))
    fitted = fit_familiarity(features, targets, 3)
    assert fitted.whitening.shape == (width, min(width, 256))
    unit = features.astype(float) / np.linalg.norm(features.astype(float), axis=1, keepdims=True)
    means = np.stack([unit[targets == index].mean(axis=0) for index in range(3)])
    covariance = np.cov((unit - means[targets]).T, bias=True)
    covariance = 0.9 * covariance + 0.1 * np.eye(width) * np.trace(covariance) / min(width, 256)
    inverse = np.linalg.inv(covariance)
    for pixel, found in zip(unit[:20], distances(fitted, features[:20]), strict=True):
        assert found == pytest.approx(min(mahalanobis(pixel, mean, inverse) ** 2 for mean in means), rel=2e-3)


def test_it_is_stored_and_read(tmp_path: Path, rng: np.random.Generator) -> None:
    """What is read from its file gives the same distances."""
    features, targets = clusters(rng, 60, 9, 9)
    fitted = fit_familiarity(features, targets, 3)
    fitted.save(tmp_path / "x.safetensors")
    again = Familiarity.load(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(distances(again, features), distances(fitted, features))


def test_features_of_nothing_have_a_distance(rng: np.random.Generator) -> None:
    """An image whose features are all zero is far from everything, and no number is lost."""
    features, targets = clusters(rng, 60, 9, 9)
    fitted = fit_familiarity(features, targets, 3)
    assert fitted.distance(np.zeros(9, np.float32)) > 100 * distances(fitted, features).max()


def test_a_class_of_nine_images_is_too_little_known() -> None:
    """Each class needs ten images, those without any included."""
    targets = np.repeat([0, 1], [10, 9])
    assert not has_enough_of_each(targets, 2)
    assert has_enough_of_each(np.append(targets, 1), 2)
    assert not has_enough_of_each(np.append(targets, 1), 3)

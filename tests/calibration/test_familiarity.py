"""Familiarity, against SciPy's Mahalanobis distance."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis

from src.calibration.familiarity import distances, fit_familiarity, has_enough_of_each
from src.stages.confidence import Familiarity


def clusters(rng: np.random.Generator, images: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return positive features (N, K) of three classes, with more variance in some directions, and the classes."""
    targets = np.arange(images) % 3
    centers, mixing = rng.random((3, width)) * 5 + 5, rng.normal(size=(width, width)) / width
    return (centers[targets] + rng.normal(size=(images, width)) @ mixing).astype(np.float32), targets


@pytest.mark.parametrize("width", [7, 300])
def test_the_distance_is_the_mahalanobis_distance(width: int, rng: np.random.Generator) -> None:
    """It is the minimum over the classes of SciPy's distance, squared, of the features scaled to length 1.

    300 features are compared by their 256 sums.
    """
    features, targets = clusters(rng, 600, width)
    fitted = fit_familiarity(features, targets, 3)
    projection = np.zeros((width, min(width, 256)))
    projection[np.arange(width), fitted.places] = fitted.signs
    assert (np.abs(projection).sum(axis=0) > 0).all()
    unit = features.astype(float) / np.linalg.norm(features.astype(float), axis=1, keepdims=True) @ projection
    means = np.stack([unit[targets == index].mean(axis=0) for index in range(3)])
    covariance = np.cov((unit - means[targets]).T, bias=True)
    covariance = 0.9 * covariance + 0.1 * np.eye(len(covariance)) * np.trace(covariance) / len(covariance)
    inverse = np.linalg.inv(covariance)
    for point, found in zip(unit[:20], distances(fitted, features[:20]), strict=True):
        assert found == pytest.approx(min(mahalanobis(point, mean, inverse) ** 2 for mean in means), rel=2e-3)


def test_images_that_differ_where_the_classes_hardly_vary_are_far(rng: np.random.Generator) -> None:
    """30 of 300 features vary; a difference in another one is detected unless it shares a sum with one of these."""
    targets = np.arange(400) % 2
    features = 10 + np.pad(rng.normal(size=(400, 30)) + 3 * targets[:, None], ((0, 0), (0, 270)))
    strangers = features + np.eye(300)[rng.integers(30, 300, 400)] * 3
    fitted = fit_familiarity(features.astype(np.float32), targets, 2)
    farthest = distances(fitted, features.astype(np.float32)).max()
    assert (distances(fitted, strangers.astype(np.float32)) > farthest).mean() > 0.9


def test_familiarity_survives_saving_and_loading(tmp_path: Path, rng: np.random.Generator) -> None:
    """The loaded object computes the same distances."""
    features, targets = clusters(rng, 60, 9)
    fitted = fit_familiarity(features, targets, 3)
    fitted.save(tmp_path / "x.safetensors")
    again = Familiarity.load(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(distances(again, features), distances(fitted, features))


def test_features_of_zero_have_a_large_finite_distance(rng: np.random.Generator) -> None:
    """An image whose features are all zero is far from every class."""
    features, targets = clusters(rng, 60, 9)
    fitted = fit_familiarity(features, targets, 3)
    assert fitted.distance(np.zeros(9, np.float32)) > 100 * distances(fitted, features).max()


def test_a_class_with_nine_images_is_not_enough() -> None:
    """Each class needs ten images, including classes without any."""
    targets = np.repeat([0, 1], [10, 9])
    assert not has_enough_of_each(targets, 2)
    assert has_enough_of_each(np.append(targets, 1), 2)
    assert not has_enough_of_each(np.append(targets, 1), 3)

"""The closed form of Grad-CAM weights."""

from pathlib import Path

import numpy as np
import pytest

from src.runtimes.closed_form import ClosedForm


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_number_of_active_units_does_not_matter(share: float) -> None:
    """However many units of a hidden layer are active, the weights equal the chain rule in float64."""
    rng = np.random.default_rng(0)
    first, last = rng.normal(size=(40, 3)).astype(np.float32), rng.normal(size=(2, 40)).astype(np.float32)
    activations = np.where(rng.random(40) < share, rng.random(40), 0).astype(np.float32)
    expected = (last[1].astype(np.float64) * (activations > 0)) @ first
    found = ClosedForm((first, last)).gradient(np.array([[0, 1]], np.float32), activations[None])
    np.testing.assert_allclose(found, expected[None], rtol=1e-4, atol=1e-5)


def test_images_of_a_batch_do_not_mix() -> None:
    """Each row of a batch, with its own active units and explained score, equals its single result."""
    rng = np.random.default_rng(0)
    form = ClosedForm(tuple(rng.normal(size=shape).astype(np.float32) for shape in ((40, 3), (30, 40), (5, 30))))
    hidden = tuple(np.maximum(rng.normal(size=(4, units)), 0).astype(np.float32) for units in (40, 30))
    directions = rng.normal(size=(4, 5)).astype(np.float32)
    alone = [form.gradient(directions[[row]], *(one[[row]] for one in hidden))[0] for row in range(4)]
    np.testing.assert_allclose(form.gradient(directions, *hidden), alone, rtol=1e-5)


def test_matrices_are_read_back_unchanged(tmp_path: Path) -> None:
    """The matrices are read back bit for bit, in the same order."""
    rng = np.random.default_rng(0)
    form = ClosedForm(tuple(rng.random(shape, np.float32) for shape in ((4, 3), (5, 4), (2, 5))))
    form.save(tmp_path / "form")
    loaded = ClosedForm.load(tmp_path / "form")
    for one, other in zip(form.layers, loaded.layers, strict=True):
        np.testing.assert_array_equal(one, other)

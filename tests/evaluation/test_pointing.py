"""The pointing game on composed images."""

import numpy as np
import pytest

from src.evaluation.pointing import Known, compose, on_half, play
from src.options import Method
from tests.test_pipeline import CROP, red_pipeline


@pytest.mark.parametrize("width", [8, 9])
def test_a_composed_image_contains_the_middle_of_both(width: int) -> None:
    """The left half is the middle of the first image, the right half that of the second; the size does not change."""
    columns = np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (4, width, 3))
    composed = compose(columns, columns + 100)
    assert composed.shape == columns.shape
    half = width // 2
    np.testing.assert_array_equal(composed[0, :half, 0], np.arange(half) + (width - half) // 2)
    np.testing.assert_array_equal(composed[0, half:, 0], np.arange(width - half) + half // 2 + 100)


@pytest.mark.parametrize(
    ("heat", "on_left"),
    [
        ([[1, 0, 0, 0]], (1, 1)),
        ([[0, 0.5, 1, 0]], (0, 1 / 3)),
        ([[0, 0, 1, 0, 0]], (0.5, 0.5)),
        ([[1, 0, 0, 1]], (0.5, 0.5)),
        ([[0, 0, 0, 0]], (0, 0)),
        ([[0.5, 0, 0.2, 0, 0], [0, 0, 0, 1, 0.3]], (0, 0.3)),
    ],
)
def test_the_share_of_heat_on_a_half_is_measured(heat: list[list[float]], on_left: tuple[float, float]) -> None:
    """The middle column counts half for each side, and equal maxima count equally."""
    values = np.array(heat, np.float32)
    assert on_half(values, left=True) == pytest.approx(on_left, abs=1e-6)
    assert on_half(values[:, ::-1], left=False) == pytest.approx(on_left, abs=1e-6)


def test_the_heat_of_each_class_lies_on_its_own_half() -> None:
    """A network of red and blue points to the correct half with every method, in both orders."""
    red, blue = (np.full((CROP, CROP, 3), color, np.uint8) for color in ((230, 30, 30), (30, 30, 230)))
    found = play(red_pipeline(), [Known(red, 0), Known(blue, 1), Known(red, 0)])
    assert set(found) == set(Method)
    for one in found.values():
        assert (one.heats, one.hits, one.energy) == pytest.approx((8, 1, 1))


def test_one_class_alone_has_no_result() -> None:
    """Without images of two classes there is nothing to compose."""
    assert play(red_pipeline(), [Known(np.zeros((CROP, CROP, 3), np.uint8), 0)] * 2) == {}

"""Whether the heat of a class lies on its own half of a composed image."""

import numpy as np
import pytest

from src.evaluation.pointing import Known, compose, on_half, play
from src.options import Method
from tests.test_pipeline import CROP, red_pipeline


@pytest.mark.parametrize("width", [8, 9])
def test_a_composed_image_shows_the_middle_of_both(width: int) -> None:
    """The left half is the middle of the one, the right half that of the other; the size stays."""
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
def test_heat_lies_on_a_half(heat: list[list[float]], on_left: tuple[float, float]) -> None:
    """Maximum and energy by hand: the middle column lies on both halves, equal maxima count alike."""
    values = np.array(heat, np.float32)
    assert on_half(values, left=True) == pytest.approx(on_left, abs=1e-6)
    assert on_half(values[:, ::-1], left=False) == pytest.approx(on_left, abs=1e-6)


def test_every_class_is_looked_for_on_its_own_half() -> None:
    """A network that finds red where it is and blue where it is points right by every method, both ways round."""
    red, blue = (np.full((CROP, CROP, 3), colour, np.uint8) for colour in ((230, 30, 30), (30, 30, 230)))
    found = play(red_pipeline(), [Known(red, 0), Known(blue, 1), Known(red, 0)])
    assert set(found) == set(Method)
    for one in found.values():
        assert (one.heats, one.hits, one.energy) == pytest.approx((8, 1, 1))


def test_one_class_alone_is_no_game() -> None:
    """Without images of two classes there is nothing to compose."""
    assert play(red_pipeline(), [Known(np.zeros((CROP, CROP, 3), np.uint8), 0)] * 2) == {}

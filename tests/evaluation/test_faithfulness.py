"""Measuring how faithful a heatmap is, on networks whose answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from src.evaluation.faithfulness import FRACTIONS, area, confidence_drop, likeness, measure, road
from src.evaluation.imputation import impute

Pixels = NDArray[np.uint8]
SHAPE = (8, 12, 3)
BLACK = np.zeros(3, np.uint8)


def _seen(pixels: Pixels) -> float:
    """Return the brightness of the left half, 0 to 1, as the score of a network that looks only there."""
    return float(pixels[:, : pixels.shape[1] // 2].mean() / 255)


def _heat(*, left: bool) -> NDArray[np.float32]:
    columns = np.arange(SHAPE[1]) < SHAPE[1] // 2
    return np.broadcast_to(columns == left, SHAPE[:2]).astype(np.float32)


def test_imputed_pixels_are_the_weighted_means_of_their_neighbors(rng: np.random.Generator) -> None:
    """Each pixel of the hole solves its equation, even at borders; the others do not change."""
    image, hole = rng.random((5, 6, 2)), rng.random((5, 6)) < 0.6
    hole[0, 0], hole[4, 5] = True, False
    filled = impute(image, hole)
    np.testing.assert_array_equal(filled[~hole], image[~hole])
    for row, column in np.argwhere(hole):
        weighted, total = np.zeros(2), 0.0
        for i in range(max(0, row - 1), min(5, row + 2)):
            for j in range(max(0, column - 1), min(6, column + 2)):
                distance = abs(i - row) + abs(j - column)
                weight = {0: 0.0, 1: 1 / 6, 2: 1 / 12}[int(distance)]
                weighted, total = weighted + weight * filled[i, j], total + weight
        np.testing.assert_allclose(filled[row, column], weighted / total, atol=1e-12)


def test_the_area_under_the_curve_matches_brute_force(rng: np.random.Generator) -> None:
    """Pixels are set to black one by one, and NumPy integrates the scores."""
    pixels = rng.integers(0, 256, SHAPE, np.uint8)
    order = rng.permutation(pixels[..., 0].size)
    changing, scores = pixels.copy(), [_seen(pixels)]
    for place in order:
        changing[divmod(int(place), SHAPE[1])] = 0
        scores.append(_seen(changing))
    found = area(_seen, pixels, np.zeros_like(pixels), order, steps=order.size)
    assert found == pytest.approx(np.trapezoid(scores, dx=1 / order.size))


def test_every_step_replaces_the_same_number_of_pixels() -> None:
    """The score of a white image drops with the two left quarters, the first two of four steps."""
    pixels = np.full((2, 4, 1), 255, np.uint8)
    order = np.arange(8).reshape(2, 4).T.ravel()  # column by column
    assert area(_seen, pixels, np.zeros_like(pixels), order, steps=4) == pytest.approx((0.5 + 0.5 + 0 + 0) / 4)


def test_a_heatmap_of_where_the_network_looks_is_more_faithful() -> None:
    """Deletion and drop are lower, insertion and ROAD higher, if the heat lies where the network looks."""
    pixels = np.full(SHAPE, 255, np.uint8)
    pixels[:, SHAPE[1] // 2 :] = 0
    right, wrong = (measure(_seen, pixels, _heat(left=left), BLACK, 1.0) for left in (True, False))
    assert right.deletion < wrong.deletion
    assert right.insertion > wrong.insertion
    assert right.road > 0.1 > -0.1 > wrong.road
    assert (right.drop, wrong.drop) == pytest.approx((0, 1), abs=0.2)


def test_road_is_the_mean_difference_over_its_fractions(rng: np.random.Generator) -> None:
    """If only one pixel counts, its removal decides the score of each fraction."""
    pixels = rng.integers(100, 156, SHAPE, np.uint8)
    pixels[3, 4] = 255
    heat = rng.random(SHAPE[:2], dtype=np.float32) * np.float32(0.5)
    heat[3, 4] = 1

    def is_intact(image: Pixels) -> float:
        return float((image[3, 4] == pixels[3, 4]).all())

    assert road(is_intact, pixels, heat) == pytest.approx(1)
    assert road(is_intact, pixels, 1 - heat) == pytest.approx(-1)
    order = np.argsort(-heat, axis=None)
    heat[3, 4] = heat.flat[order[heat.size // 2]]  # in the middle: among the hottest 60 and 80 %, and among the coldest
    assert road(is_intact, pixels, heat) == pytest.approx(0)
    assert len(FRACTIONS) == 4


@pytest.mark.parametrize(("after", "expected"), [(0.2, (0.6, 0.0)), (0.5, (0.0, 0.0)), (0.8, (0.0, 1.0))])
def test_drop_and_increase_are_shares_of_the_score(after: float, expected: tuple[float, float]) -> None:
    """A loss counts as a share of the original score, a gain as 1."""
    pixels = np.full(SHAPE, 200, np.uint8)
    found = confidence_drop(lambda _: after, pixels, _heat(left=True), BLACK, 0.5)
    assert found == pytest.approx(expected)


def test_cold_pixels_fade_to_the_fill_value() -> None:
    """A pixel with a heat of 0.5 is changed to the midpoint of its value and the fill."""
    seen: list[Pixels] = []

    def score(image: Pixels) -> float:
        seen.append(image)
        return 1.0

    heat = np.array([[0, 0.5, 1]], np.float32)
    confidence_drop(score, np.full((1, 3, 3), 200, np.uint8), heat, np.full(3, 100, np.uint8), 1.0)
    np.testing.assert_array_equal(seen[0][0, :, 0], [100, 150, 200])


def test_likeness_is_the_rank_correlation(rng: np.random.Generator) -> None:
    """It is Spearman's, including ties; for a heatmap without evidence it is 0."""
    one, other = (np.maximum(rng.normal(size=(7, 7)), 0).astype(np.float32) for _ in range(2))
    assert likeness(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic)
    assert likeness(one, one) == pytest.approx(1)
    assert likeness(one, np.zeros_like(one)) == 0

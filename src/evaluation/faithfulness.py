"""Measure how faithful a heatmap is, by changing the image and observing the network's score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from src.evaluation.imputation import impute

__all__ = ["FRACTIONS", "STEPS", "Measures", "Score", "area", "confidence_drop", "likeness", "measure", "road"]

STEPS: Final = 16
FRACTIONS: Final = (0.2, 0.4, 0.6, 0.8)
_BLUR: Final = 5  # pixels, as in RISE: the standard deviation of a Gaussian, truncated to a kernel of 11
_CELLS: Final = 112  # per side, at most: solving for all 224 x 224 pixels takes eight times as long
_NOISE: Final = 0.01 * 255

Pixels = NDArray[np.uint8]
Score = Callable[[Pixels], float]
"""Pixels (H, W, C) -> the probability of the explained class, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Measures:
    """How faithful heatmaps are; each measure is a mean over images.

    ``deletion`` and ``insertion``: area under the probability while pixels are removed or inserted, hottest first.
    ``road``: probability without the coldest pixels minus probability without the hottest.
    ``drop``: share of the probability lost if only the hot pixels remain. ``increase``: share of images whose
    probability rises instead. ``randomized``: rank correlation with the heatmap after weights are randomized.
    """

    deletion: float
    insertion: float
    road: float
    drop: float
    increase: float
    randomized: float


def measure(score: Score, pixels: Pixels, heat: NDArray[np.float32], fill: Pixels, before: float) -> Measures:
    """Return the measures of one heatmap; ``randomized`` is left at 0.

    Args:
        score: The network's probability of the explained class.
        pixels: The input of the network, (H, W, C).
        heat: (h, w) in [0, 1].
        fill: (C,) the value of removed pixels, which normalization turns into zero.
        before: The score of ``pixels``.
    """
    height, width, _ = pixels.shape
    spread = np.asarray(Image.fromarray(heat, "F").resize((width, height), Image.Resampling.BILINEAR))
    order = np.argsort(-spread, axis=None, kind="stable")  # ties, such as zeros, from the top down
    empty = np.broadcast_to(fill, pixels.shape)
    blurred = gaussian_filter(pixels, (_BLUR, _BLUR, 0), truncate=1)
    drop, increase = confidence_drop(score, pixels, spread, fill, before)
    return Measures(
        deletion=area(score, pixels, empty, order),
        insertion=area(score, blurred, pixels, order),
        road=road(score, pixels, spread),
        drop=drop,
        increase=increase,
        randomized=0.0,
    )


def area(score: Score, start: Pixels, end: Pixels, order: NDArray[np.intp], steps: int = STEPS) -> float:
    """Return the area under the score, 0 to 1, while the pixels of ``start`` are replaced by ``end`` in ``order``.

    This is deletion if ``end`` is empty, and insertion if ``start`` is a blurred image and ``end`` is the image:
    Petsiuk et al., RISE, https://arxiv.org/abs/1806.07421, section 4.1. Every step replaces the same number of pixels;
    the area is integrated by the trapezoidal rule.

    Args:
        score: The network.
        start: (H, W, C)
        end: (H, W, C)
        order: Flat indices of all H W pixels.
        steps: Number of steps.
    """
    changing, target = start.reshape(-1, start.shape[2]).copy(), end.reshape(-1, end.shape[2])
    scores = [score(start)]
    for part in np.array_split(order, steps):
        changing[part] = target[part]
        scores.append(score(changing.reshape(start.shape)))
    return float((sum(scores) - (scores[0] + scores[-1]) / 2) / steps)


def road(score: Score, pixels: Pixels, heat: NDArray[np.float32]) -> float:
    """Return how much more the score drops without the hottest pixels than without as many of the coldest, -1 to 1.

    Removed pixels are filled from their surroundings, with a little noise, so that no edge shows where they were: Rong
    et al., ROAD, https://arxiv.org/abs/2202.00449. The result is the mean over the fractions 0.2, 0.4, 0.6 and 0.8 of
    the pixels, of probability instead of accuracy. Large images are filled in cells of several pixels.

    Args:
        score: The network.
        pixels: (H, W, C)
        heat: (H, W) in [0, 1].
    """
    height, width, channels = pixels.shape
    factor = -(-max(height, width) // _CELLS)
    size = -(-width // factor), -(-height // factor)
    cells = np.stack([_resized(pixels[..., channel], size, Image.Resampling.BOX) for channel in range(channels)], 2)
    order = np.argsort(-_resized(heat, size, Image.Resampling.BOX), axis=None, kind="stable")
    rng = np.random.default_rng(0)
    differences = []
    for fraction in FRACTIONS:
        count = round(fraction * order.size)
        hottest, coldest = (
            score(_without(pixels, cells, part, rng)) for part in (order[:count], order[order.size - count :])
        )
        differences.append(coldest - hottest)
    return float(np.mean(differences))


def _without(pixels: Pixels, cells: NDArray[np.float64], part: NDArray[np.intp], rng: np.random.Generator) -> Pixels:
    """Return ``pixels`` with the ``part`` of the ``cells`` imputed."""
    hole = np.zeros(cells.shape[:2], np.bool_)
    hole.flat[part] = True
    filled, size = impute(cells, hole), pixels.shape[1::-1]
    smooth = np.stack([_resized(one, size, Image.Resampling.BILINEAR) for one in np.moveaxis(filled, 2, 0)], 2)
    noisy = np.clip(smooth + rng.normal(scale=_NOISE, size=smooth.shape), 0, 255).astype(np.uint8)
    where = _resized(hole, size, Image.Resampling.NEAREST) > 0
    return np.where(where[..., None], noisy, pixels)


def confidence_drop(
    score: Score, pixels: Pixels, heat: NDArray[np.float32], fill: Pixels, before: float
) -> tuple[float, float]:
    """Return the share of the score lost if each pixel fades as far as it is cold, and 1 if the score rises instead.

    Source: Chattopadhay et al., Grad-CAM++, https://arxiv.org/abs/1710.11063, section 4.1.
    """
    kept = fill + heat[..., None] * (pixels.astype(np.float32) - fill)
    after = score(np.rint(kept).astype(np.uint8))
    return max(0.0, before - after) / before, float(after > before)


def likeness(heat: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return Spearman's rank correlation of two heatmaps, -1 to 1; 0 if one of them is constant or NaN.

    If a method explains the network, its heatmap changes with random weights: Adebayo et al., Sanity Checks for
    Saliency Maps, https://arxiv.org/abs/1810.03292.
    """
    ranks = [rankdata(one) for one in (heat, other)]
    if not all(np.ptp(one) > 0 for one in ranks):  # also NaN, from a network with random weights
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _resized(values: NDArray[np.generic], size: tuple[int, int], resampling: Image.Resampling) -> NDArray[np.float64]:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, resampling), np.float64)

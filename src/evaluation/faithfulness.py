"""A heatmap and the network that it explains -> how faithful it is, by what the network makes of changed images."""

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
_BLUR: Final = 5  # pixels, as in RISE: a Gaussian of that deviation, cut off to a kernel of 11
_CELLS: Final = 112  # a side, at most: the equations of all 224 x 224 pixels take eight times as long
_NOISE: Final = 0.01 * 255

Pixels = NDArray[np.uint8]
Score = Callable[[Pixels], float]
"""Pixels (H, W, C) -> the probability of the explained class, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Measures:
    """How faithful heatmaps are, each a mean over images.

    ``deletion`` and ``insertion``: area under the probability while the hottest pixels go first, or come first.
    ``road``: probability without the coldest pixels less that without the hottest.
    ``drop`` and ``increase``: what the probability loses if only the hot pixels remain, as a share of it; the share of
    images where it gains. ``randomized``: rank correlation with the heatmap of the same network with random weights.
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
        score: The network, asked for the class that is explained.
        pixels: What the network saw, (H, W, C).
        heat: (h, w) in [0, 1].
        fill: (C,) what is put in place of a pixel: what the network takes for zero.
        before: The score of ``pixels``.
    """
    height, width, _ = pixels.shape
    spread = np.asarray(Image.fromarray(heat, "F").resize((width, height), Image.Resampling.BILINEAR))
    order = np.argsort(-spread, axis=None, kind="stable")  # equals, such as zeros, from the top down
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
    """Return the area under the score, 0 to 1, while the pixels of ``start`` become those of ``end`` in ``order``.

    From an image to nothing that is deletion, from a blurred image to the image insertion: Petsiuk et al., RISE,
    https://arxiv.org/abs/1806.07421, section 4.1. The steps are of equally many pixels; trapezoids between them.

    Args:
        score: The network.
        start: (H, W, C)
        end: (H, W, C)
        order: All H W pixels by their place in a row of them.
        steps: How many.
    """
    changing, target = start.reshape(-1, start.shape[2]).copy(), end.reshape(-1, end.shape[2])
    scores = [score(start)]
    for part in np.array_split(order, steps):
        changing[part] = target[part]
        scores.append(score(changing.reshape(start.shape)))
    return float((sum(scores) - (scores[0] + scores[-1]) / 2) / steps)


def road(score: Score, pixels: Pixels, heat: NDArray[np.float32]) -> float:
    """Return how much more the score suffers without the hottest pixels than without as many of the coldest, -1 to 1.

    What is taken out is filled from around it, with a little noise, so that no edge betrays where it was: Rong et al.,
    ROAD, https://arxiv.org/abs/2202.00449. The mean over the fractions 0.2, 0.4, 0.6 and 0.8 of the pixels, of the
    probability in place of the accuracy; large images are filled in cells of some pixels.

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
    """Return ``pixels`` with those that lie in some ``cells`` imputed."""
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
    """Return what the score loses, as a share of it, if each pixel remains as far as it is hot; and 1 if it gains.

    Source: Chattopadhay et al., Grad-CAM++, https://arxiv.org/abs/1710.11063, section 4.1.
    """
    kept = fill + heat[..., None] * (pixels.astype(np.float32) - fill)
    after = score(np.rint(kept).astype(np.uint8))
    return max(0.0, before - after) / before, float(after > before)


def likeness(heat: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the rank correlation (Spearman) of two heatmaps, -1 to 1; 0 where one of them is the same everywhere.

    A method that explains a network is unlike itself with random weights: Adebayo et al., Sanity Checks for Saliency
    Maps, https://arxiv.org/abs/1810.03292.
    """
    ranks = [rankdata(one) for one in (heat, other)]
    if not all(np.ptp(one) > 0 for one in ranks):  # nor where a network with random weights gives no numbers
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _resized(values: NDArray[np.generic], size: tuple[int, int], resampling: Image.Resampling) -> NDArray[np.float64]:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, resampling), np.float64)

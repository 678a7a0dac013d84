"""Fit the temperature that calibrates percentages, and measure how well they are calibrated."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from src.stages.output_spec import OutputSpec

__all__ = ["RANGES", "calibration_error", "fit_temperature", "reliability"]

RANGES: Final = 15
_WIDEST: Final = np.log(100.0)  # log of the highest temperature; the lowest is its inverse


def fit_temperature(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    r"""Return the temperature T with which the classes ``targets`` (N,) are most likely, for ``logits`` (N, C).

    It minimizes :math:`-\sum_i \log softmax(y_i / T)_{t_i} + (\log T)^2 / 2`. The last term, a standard normal prior
    of log T, weighs no more than an image or two. Without it, a few images that are all right would make every
    answer 100 % confident.
    """
    scores = logits.astype(np.float64)
    scores -= scores[np.arange(len(targets)), targets][:, None]

    def loss(log_temperature: float) -> Any:  # noqa: ANN401 - a NumPy scalar
        return logsumexp(scores / np.exp(log_temperature), axis=1).sum() + log_temperature**2 / 2

    return float(np.exp(minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded").x))


def reliability(
    logits: NDArray[np.float32], targets: NDArray[np.int64], output: OutputSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return, for 15 ranges of the highest probability, its mean, the share of right answers and the number of images.

    They are 0 for a range without images.
    """
    likely = output.percents(logits).max(axis=1) / 100
    right = logits.argmax(axis=1) == targets
    place = np.minimum((likely * RANGES).astype(np.int64), RANGES - 1)
    count = np.bincount(place, minlength=RANGES)
    mean, share = (np.bincount(place, of, RANGES) / np.maximum(count, 1) for of in (likely, right))
    return mean, share, count


def calibration_error(logits: NDArray[np.float32], targets: NDArray[np.int64], output: OutputSpec) -> float:
    """Return the expected calibration error, 0 to 1: Guo et al., https://arxiv.org/abs/1706.04599."""
    mean, share, count = reliability(logits, targets, output)
    return float(count @ np.abs(mean - share) / count.sum())

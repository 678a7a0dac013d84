"""The temperature by which logits are divided, so that percentages mean what they say."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from src.stages.output_spec import OutputSpec

__all__ = ["RANGES", "calibration_error", "fit_temperature", "reliability"]

RANGES: Final = 15
_WIDEST: Final = np.log(100.0)  # of a temperature, either way


def fit_temperature(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    r"""Return the temperature T that makes the classes ``targets`` (N,) likeliest, for ``logits`` (N, C).

    It minimizes :math:`-\sum_i \log softmax(y_i / T)_{t_i} + (\log T)^2 / 2`. The last term, a standard normal
    distribution of log T before anything is known, counts no more than an image or two. Without it a few images that
    are all right would make every answer 100 % sure.
    """
    scores = logits.astype(np.float64)
    scores -= scores[np.arange(len(targets)), targets][:, None]

    def loss(log_temperature: float) -> Any:  # noqa: ANN401 - a number of numpy
        return logsumexp(scores / np.exp(log_temperature), axis=1).sum() + log_temperature**2 / 2

    return float(np.exp(minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded").x))


def reliability(
    logits: NDArray[np.float32], targets: NDArray[np.int64], output: OutputSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return for each of 15 ranges of the highest probability its mean, the share that is right, the number of images.

    A range without images has zeros.
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

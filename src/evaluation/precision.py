"""Measure how a lower precision changes the answers, by running the same images through two pipelines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from src.calibration.temperature import calibration_error
from src.errors import RequestError
from src.evaluation.accuracy import images
from src.pipeline import Pipeline
from src.runtimes.base import Evaluation
from src.stages.gradcam import gradcam
from src.stages.output_spec import OutputSpec

__all__ = ["Change", "measure_change"]

_SAME: Final = 0.995  # of the images
_WORSE: Final = 0.001  # calibration error: a smaller difference is chance


@dataclass(frozen=True, slots=True)
class Change:
    """How the answers of a fast pipeline differ from those of an exact one.

    ``images``: their number; ``same_class``: the share that got the same class, 0 to 1; ``probability``: the median
    difference of its probability, 0 to 1; ``correlation``: the median correlation of the heatmaps, -1 to 1;
    ``error_exact`` and ``error_fast``: the expected calibration error of each pipeline, 0 to 1.
    """

    images: int
    same_class: float
    probability: float
    correlation: float
    error_exact: float
    error_fast: float

    @property
    def harmless(self) -> bool:
        """Whether at least 99.5 % of the images keep their class and the calibration error grows by at most 0.001."""
        return self.same_class >= _SAME and self.error_fast <= self.error_exact + _WORSE

    def __str__(self) -> str:
        return (
            f"{self.same_class:.2%} of {self.images} images get the same class; its probability differs by"
            f" {self.probability:.1g}, the heatmaps correlate by {self.correlation:.4f} (medians); the calibration"
            f" error is {self.error_fast:.2%} instead of {self.error_exact:.2%}"
        )


def measure_change(exact: Pipeline, fast: Pipeline, folder: Path) -> Change:
    """Compare both pipelines on every image in ``folder``/<class>/; images that cannot be decoded are left out."""
    logits, targets, correlations = [], [], []
    for label, file in tqdm(list(images(folder)), unit="image", desc=f"checking {fast.runtime.graphs.precision}"):
        try:
            pair = [pipeline.evaluate(file.read_bytes()) for pipeline in (exact, fast)]
        except (RequestError, OSError):
            continue
        logits.append([one.logits for one in pair])  # without the features, which may take a megabyte
        targets.append(exact.manifest.labels.index(label))
        called, other = (int(one.logits.argmax()) for one in pair)
        if called == other:
            correlations.append(_correlation(pair, called))
    return _change(np.array(logits), np.array(targets), correlations, exact.manifest.output)


def _change(
    logits: NDArray[np.float32], targets: NDArray[np.int64], correlations: list[float], output: OutputSpec
) -> Change:
    """Return the change from ``logits`` (N, 2, C) and the ``correlations`` for the images that keep their class."""
    percents, called = output.percents(logits), logits.argmax(axis=2)
    same = np.flatnonzero(called[:, 0] == called[:, 1])
    apart = np.abs(percents[same, 0] - percents[same, 1])[np.arange(len(same)), called[same, 0]] / 100
    errors = [calibration_error(logits[:, place], targets, output) for place in (0, 1)]
    return Change(
        images=len(targets),
        same_class=len(same) / len(targets),
        probability=float(np.median(apart)) if len(same) else 1.0,
        correlation=float(np.median(correlations)) if correlations else 0.0,
        error_exact=errors[0],
        error_fast=errors[1],
    )


def _correlation(pair: list[Evaluation], index: int) -> float:
    values, others = (gradcam(seen.features, seen.weights(index)).values.ravel() for seen in pair)
    if not (np.ptp(values) and np.ptp(others)):  # a constant heatmap has no correlation
        return float(np.array_equal(values, others))
    return float(np.corrcoef(values, others)[0, 1])

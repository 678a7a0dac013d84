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
    pairs, targets = [], []
    for label, file in tqdm(list(images(folder)), unit="image", desc=f"checking {fast.runtime.precision}"):
        try:
            pairs.append([pipeline.evaluate(file.read_bytes()) for pipeline in (exact, fast)])
        except (RequestError, OSError):
            continue
        targets.append(exact.manifest.labels.index(label))
    return _change(pairs, np.array(targets), exact)


def _change(pairs: list[list[Evaluation]], targets: NDArray[np.int64], exact: Pipeline) -> Change:
    output = exact.manifest.output
    logits = [np.stack([one.logits for one in seen]) for seen in zip(*pairs, strict=True)]
    percents = [output.percents(one) for one in logits]
    called = [one.argmax(axis=1) for one in logits]
    same = np.flatnonzero(called[0] == called[1])
    apart = np.abs(percents[0] - percents[1])[same, called[0][same]] / 100
    errors = [calibration_error(one, targets, output) for one in logits]
    return Change(
        images=len(pairs),
        same_class=len(same) / len(pairs),
        probability=float(np.median(apart)) if len(same) else 1.0,
        correlation=float(np.median([_correlation(pairs[i], called[0][i]) for i in same])) if len(same) else 0.0,
        error_exact=errors[0],
        error_fast=errors[1],
    )


def _correlation(pair: list[Evaluation], index: int) -> float:
    values, others = (gradcam(seen.features, seen.weights(index)).values.ravel() for seen in pair)
    if not (np.ptp(values) and np.ptp(others)):  # a constant heatmap has no correlation
        return float(np.array_equal(values, others))
    return float(np.corrcoef(values, others)[0, 1])

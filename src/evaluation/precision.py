"""What a lower precision changes: the same images through two pipelines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from src.errors import RequestError
from src.evaluation.accuracy import images
from src.options import Options
from src.pipeline import Pipeline, Recognition

__all__ = ["Change", "measure_change"]

_ASKED: Final = Options(gradcam=False, heatmaps=True, top_k=1)


@dataclass(frozen=True, slots=True)
class Change:
    """How the answers of a fast pipeline differ from those of an exact one.

    ``images``: how many there were; ``same_class``: the share that got the same class, 0 to 1; ``probability``: the
    median difference of its probability, 0 to 1; ``correlation``: the median correlation of the heatmaps, -1 to 1.
    """

    images: int
    same_class: float
    probability: float
    correlation: float

    def __str__(self) -> str:
        return (
            f"{self.same_class:.2%} of {self.images} images get the same class; its probability differs by"
            f" {self.probability:.1g}, the heatmaps correlate by {self.correlation:.4f} (medians)"
        )


def measure_change(exact: Pipeline, fast: Pipeline, folder: Path) -> Change:
    """Recognize every image of ``folder``/<class>/ with both; those that cannot be decoded are left out."""
    pairs = []
    for _, file in tqdm(list(images(folder)), unit="image", desc=f"checking {fast.runtime.precision}"):
        try:
            pairs.append([pipeline.recognize(file.read_bytes(), _ASKED) for pipeline in (exact, fast)])
        except RequestError:
            continue
    same = [(one, other) for one, other in pairs if one.prediction.top[0].index == other.prediction.top[0].index]
    return Change(
        images=len(pairs),
        same_class=len(same) / len(pairs),
        probability=float(np.median([_percent_apart(one, other) / 100 for one, other in same])) if same else 1.0,
        correlation=float(np.median([_correlation(one, other) for one, other in same])) if same else 0.0,
    )


def _percent_apart(one: Recognition, other: Recognition) -> float:
    return abs(one.prediction.top[0].percent - other.prediction.top[0].percent)


def _correlation(one: Recognition, other: Recognition) -> float:
    values, others = one.heatmaps[0].ravel(), other.heatmaps[0].ravel()
    if not (np.ptp(values) and np.ptp(others)):  # nothing varies that could correlate
        return float(np.array_equal(values, others))
    return float(np.corrcoef(values, others)[0, 1])

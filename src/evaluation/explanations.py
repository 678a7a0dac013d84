"""Measure how faithful each method's heatmaps are, on a sample of images."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from tqdm import tqdm

from src.errors import RequestError
from src.evaluation.faithfulness import STEPS, Measures, likeness, measure
from src.options import Method
from src.pipeline import Pipeline, heatmap
from src.runtimes.base import Evaluation

__all__ = ["Faithfulness", "check_explanations"]

_SECONDS: Final = 120  # enough for a few images with a large network
_FEWEST: Final = 8
_SAME: Final = 1e-4  # of the maximum: methods that differ only by rounding are measured once
_LESS_IS_BETTER: Final = {"deletion", "drop"}
_NOT_RANKED: Final = {"randomized"}  # it shows whether a method can be trusted at all, not which one is better


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How faithful each method's heatmaps of the recognized class were, on ``images`` images."""

    images: int
    methods: Mapping[Method, Measures]

    @property
    def best(self) -> Method:
        """The method with the best mean rank over all measures except ``randomized``; the first one if tied."""
        ranks = sum(
            rankdata(
                [
                    getattr(one, field.name) * (1 if field.name in _LESS_IS_BETTER else -1)
                    for one in self.methods.values()
                ]
            )
            for field in fields(Measures)
            if field.name not in _NOT_RANKED
        )
        return list(self.methods)[int(np.argmin(ranks))]

    def figures(self) -> dict[str, Any]:
        """Return the figures for the model store."""
        methods = {str(method): asdict(one) for method, one in self.methods.items()}
        return {"images": self.images, "steps": STEPS, "best": str(self.best), "methods": methods}

    def table(self) -> str:
        """Return a heading that names the best method, and a line for each method."""
        names = [field.name for field in fields(Measures)]
        arrows = [
            f"{name} {'↓' if name in _LESS_IS_BETTER else '≈0' if name in _NOT_RANKED else '↑'}" for name in names
        ]
        lines = [f"heatmaps of {self.images} images, in {STEPS} steps: {self.best} is the best method"]
        lines.append("  " + " " * 11 + "".join(f"{arrow:>14}" for arrow in arrows))
        lines += [
            f"  {method:<11}" + "".join(f"{getattr(one, name):>14.3f}" for name in names)
            for method, one in self.methods.items()
        ]
        return "\n".join(lines)


def check_explanations(
    pipeline: Pipeline, randomized: Pipeline, files: Sequence[Path], seconds: float = _SECONDS
) -> Faithfulness | None:
    """Measure how faithful the heatmaps of ``pipeline`` are for each method.

    Args:
        pipeline: The model.
        randomized: The same model with random weights.
        files: Images in the order of measurement; those that cannot be read or decoded are skipped.
        seconds: The time after which no further image is measured, once at least eight have been.

    Returns:
        None if no image can be decoded.
    """
    found: list[list[Measures]] = []
    started = time.monotonic()
    for file in tqdm(files, unit="image", desc="explanations"):
        if len(found) >= _FEWEST and time.monotonic() - started > seconds:
            break
        try:
            pixels = pipeline.pixels(file.read_bytes())
        except (RequestError, OSError):
            continue
        found.append(_measures(pipeline, randomized, pixels))
    if not found:
        return None
    return Faithfulness(
        len(found), {method: _mean([one[place] for one in found]) for place, method in enumerate(Method)}
    )


def _measures(pipeline: Pipeline, randomized: Pipeline, pixels: NDArray[np.uint8]) -> list[Measures]:
    """Return the measures of each method's heatmap of the class recognized in ``pixels``."""
    evaluation, chance = pipeline.runtime.evaluate(pixels), randomized.runtime.evaluate(pixels)
    index = int(evaluation.logits.argmax())
    manifest = pipeline.manifest
    fill = np.rint(255 * np.array(manifest.input.mean)).astype(np.uint8)

    def probability(seen: Evaluation) -> float:
        finite = np.isfinite(seen.logits).all()  # not those of every network for an image of a single color
        return float(manifest.output.percents(seen.logits)[index] / 100) if finite else 0.0

    def score(changed: NDArray[np.uint8]) -> float:
        return probability(pipeline.runtime.evaluate(changed))

    before = probability(evaluation)
    measured: list[tuple[NDArray[np.float32], Measures]] = []
    for method in Method:
        heat = heatmap(evaluation, method, index).values
        measures = next((known for other, known in measured if np.abs(heat - other).max() < _SAME), None)
        measures = measures or measure(score, pixels, heat, fill, before)
        alike = likeness(heat, heatmap(chance, method, index).values)
        measured.append((heat, replace(measures, randomized=alike)))
    return [measures for _, measures in measured]


def _mean(measures: Sequence[Measures]) -> Measures:
    return Measures(
        **{field.name: float(np.mean([getattr(one, field.name) for one in measures])) for field in fields(Measures)}
    )

"""Measure the accuracy of a multi-label model, class by class."""

import os.path
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from src.errors import ModelError
from src.evaluation.observations import Observations, observe
from src.labeled_folder import LabelTable, read_table
from src.pipeline import Pipeline

__all__ = ["MultilabelEvaluation", "average_precision", "best_threshold", "evaluate_table", "matching_table"]

_HALF: Final = 0.5
_FEWEST: Final = 10  # images of a class, and images without it, needed to learn its threshold


@dataclass(frozen=True, slots=True)
class MultilabelEvaluation:
    """The outcome of a check on N labeled images: the classes they belong to, those recognized, and the percentages.

    ``targets`` and ``seen`` are bool (N, C), ``percents`` (N, C), for the C ``classes``; ``skipped`` names the files
    that could not be decoded.
    """

    classes: tuple[str, ...]
    targets: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    percents: NDArray[np.float64]
    skipped: tuple[str, ...]
    observed: Observations

    @property
    def any_class(self) -> NDArray[np.int64]:
        """The single class, 0, of each image, (N,), for calibration."""
        return np.zeros(len(self.targets), np.int64)

    def figures(self) -> dict[str, Any]:
        """Return the figures for the model store, without recall of absent classes or precision of unseen ones."""
        both, columns = (self.targets & self.seen).sum(axis=0), range(len(self.classes))
        actual, found = self.targets.sum(axis=0), self.seen.sum(axis=0)
        ranked = {i: average_precision(self.targets[:, i], self.percents[:, i]) for i in columns if actual[i]}
        return {
            "images": len(self.targets),
            "accuracy": float((self.targets == self.seen).all(axis=1).mean()),
            "recall": {self.classes[i]: float(both[i] / actual[i]) for i in columns if actual[i]},
            "precision": {self.classes[i]: float(both[i] / found[i]) for i in columns if found[i]},
            "average_precision": {self.classes[i]: value for i, value in ranked.items()},
        }

    def thresholds(self, learned_from: Collection[bytes]) -> tuple[float, ...]:
        """Return the best threshold of each class's probability, 0 to 1, by :func:`best_threshold`.

        It stays 0.5 unless at least ten different images, other than those that the network was trained on, belong to
        the class and at least ten do not. ``learned_from`` has the SHA-256 of each file that it was trained on.
        """
        chosen = self.observed.first & self.observed.others(learned_from)
        columns = zip(self.targets[chosen].T, self.percents[chosen].T / 100, strict=True)
        return tuple(
            best_threshold(targets, scores) if _FEWEST <= targets.sum() <= len(targets) - _FEWEST else _HALF
            for targets, scores in columns
        )

    def table(self) -> str:
        """Return the figures as text, with a line for each class."""
        figures = self.figures()
        shown = ("precision", "recall", "average_precision")
        lines = [f"{figures['accuracy']:.2%} of {figures['images']} images have exactly their classes"]
        lines.append(" " * 22 + "".join(f"{name.replace('_', ' '):>19}" for name in shown))
        for name in self.classes:
            cells = [f"{figures[key][name]:.2%}" if name in figures[key] else "-" for key in shown]
            lines.append(f"  {name:<20}" + "".join(f"{cell:>19}" for cell in cells))
        return "\n".join(lines + [f"  skipped, not a readable image: {name}" for name in self.skipped])


def evaluate_table(pipeline: Pipeline, file: Path) -> MultilabelEvaluation:
    """Recognize every image of the CSV of labels ``file``.

    Raises:
        ModelError: It is not a CSV of labels, its classes are not the model's, or none of its images can be decoded.
    """
    labels = pipeline.manifest.labels
    rows = matching_table(file, labels).rows
    observed = observe(pipeline, [image for image, _ in rows], file)
    output = pipeline.manifest.output
    percents = output.percents(observed.logits)
    targets = np.array([rows[place][1] for place in observed.places], bool)
    skipped = tuple(os.path.relpath(image, file.parent) for image in observed.skipped)
    return MultilabelEvaluation(labels, targets, output.seen(percents), percents, skipped, observed)


def matching_table(file: Path, labels: tuple[str, ...]) -> LabelTable:
    """Read a CSV of labels, and put its columns in the order of the model's ``labels``.

    Raises:
        ModelError: It is not a CSV of labels, or its classes are not the model's.
    """
    if file.is_dir():
        raise ModelError(
            f"{file} is a folder, but images can belong to several classes of this model. Use a CSV whose first line is"
            f" image,{','.join(labels)} and whose other lines are a file and a 0 or 1 for each class."
        )
    table = read_table(file)
    if set(table.labels) != set(labels) or len(set(labels)) != len(labels):
        raise ModelError(f"{file} has the classes {', '.join(table.labels)}, but the model has {', '.join(labels)}.")
    order = [table.labels.index(label) for label in labels]
    return LabelTable(labels, tuple((image, tuple(marks[place] for place in order)) for image, marks in table.rows))


def best_threshold(targets: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the threshold with the best F1, 2 TP / (2 TP + FP + FN), halfway between two scores, or 0.5.

    If several are equally good, it is the one nearest to 0.5. Van Rijsbergen, Information Retrieval, 1979.
    """
    levels = np.unique(scores)
    candidates = np.append((levels[1:] + levels[:-1]) / 2, _HALF)
    hits, seen = (len(some) - np.searchsorted(np.sort(some), candidates, "right") for some in (scores[targets], scores))
    quality = 2 * hits / (seen + targets.sum())
    best = candidates[quality == quality.max()]
    return float(best[np.abs(best - _HALF).argmin()])


def average_precision(targets: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the sum over all thresholds of precision times the gain in recall; NaN without a positive target.

    Images with equal ``scores`` count together, as in scikit-learn's function of this name.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(targets[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0) * precision))

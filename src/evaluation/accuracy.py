"""Measure a model's accuracy and confusion matrix on a folder of labeled images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from src.errors import ModelError
from src.evaluation.observations import Observations, observe
from src.labeled_folder import class_folders, image_files
from src.pipeline import Pipeline

__all__ = ["Evaluation", "evaluate", "images", "save_plot"]

_MAX_SHOWN: Final = 20
_WIDEST: Final = 40  # inches of a plot, without its margins
_POINTS: Final = 72  # per inch


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The outcome of a check: ``confusion[i, j]`` counts images of class ``classes[i]`` recognized as ``classes[j]``.

    The last column counts images recognized as another class. ``skipped`` names the files that could not be decoded;
    ``targets`` (N,) are the classes of the ``observed`` images, as indices of the model's labels.
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    skipped: tuple[str, ...]
    targets: NDArray[np.int64]
    observed: Observations

    @property
    def total(self) -> int:
        """Number of images that were decoded."""
        return int(self.confusion.sum())

    @property
    def right(self) -> int:
        """Number of images that were recognized correctly."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of images that were recognized correctly, 0 to 1."""
        return self.right / self.total

    @property
    def recall(self) -> dict[str, float]:
        """Share of each class's images that were recognized correctly, 0 to 1."""
        return {
            name: float(self.confusion[row, row] / self.confusion[row].sum())
            for row, name in enumerate(self.classes)
            if self.confusion[row].any()
        }

    def figures(self) -> dict[str, Any]:
        """Return the figures for the model store: images, accuracy, recall and, for few classes, the confusion."""
        figures = {"images": self.total, "accuracy": self.accuracy, "recall": self.recall}
        if len(self.classes) > _MAX_SHOWN:
            return figures
        return figures | {"confusion": {"classes": list(self.classes), "counts": self.confusion.tolist()}}

    def table(self) -> str:
        """Return accuracy, recall per class and, for few classes, the confusion matrix as text."""
        lines = [f"{self.right} of {self.total} right: {self.accuracy:.2%}"]
        lines += [f"  {name:<20} {share:8.2%}" for name, share in self.recall.items()]
        if len(self.classes) <= _MAX_SHOWN:
            columns = [*self.classes, "other"]
            lines.append("  true \\ predicted    " + "".join(f"{name[:11]:>12}" for name in columns))
            lines += [
                f"  {name:<20}" + "".join(f"{count:>12}" for count in row)
                for name, row in zip(self.classes, self.confusion, strict=True)
            ]
        lines += [f"  skipped, not a readable image: {name}" for name in self.skipped]
        return "\n".join(lines)


def evaluate(pipeline: Pipeline, folder: Path) -> Evaluation:
    """Recognize every image of ``folder``, which has one folder of images per class, named after the class.

    Raises:
        ModelError: There are no images, none can be decoded, or the model has no class of a folder's name.
    """
    labeled = list(images(folder))
    classes = tuple(sorted({label for label, _ in labeled}))
    unknown = [name for name in classes if name not in pipeline.manifest.labels]
    if not labeled or unknown:
        what = f"the model has no class {unknown[0]!r}" if unknown else "it has no images"
        raise ModelError(f"{folder} cannot be checked: {what}. It needs one folder of images per class.")
    observed = observe(pipeline, [file for _, file in labeled], folder)
    labels = pipeline.manifest.labels
    confusion = np.zeros((len(classes), len(classes) + 1), dtype=np.int64)
    shown = [labeled[place][0] for place in observed.places]
    for label, index in zip(shown, observed.logits.argmax(axis=1).tolist(), strict=True):
        column = classes.index(labels[index]) if labels[index] in classes else len(classes)
        confusion[classes.index(label), column] += 1
    skipped = tuple(str(file.relative_to(folder)) for file in observed.skipped)
    return Evaluation(classes, confusion, skipped, np.array([labels.index(label) for label in shown]), observed)


def images(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the class and path of every file in ``folder``/<class>/, at any depth.

    Raises:
        ModelError: The folder does not exist.
    """
    for label in class_folders(folder):
        for file in image_files(label):
            yield label.name, file


def save_plot(evaluation: Evaluation, file: Path) -> None:
    """Plot the confusion matrix; rows are the classes of the images, columns the classes recognized."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only a check needs matplotlib

    columns = [*evaluation.classes, "other"]
    cell = min(0.5, _WIDEST / len(columns))
    side = 2.5 + cell * len(columns)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = evaluation.confusion / np.maximum(evaluation.confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = min(10.0, 0.8 * cell * _POINTS)
    names: dict[str, Any] = {"fontsize": size, "parse_math": False}  # a name may have dollar signs
    axes.set_xticks(range(len(columns)), columns, rotation=90, **names)
    axes.set_yticks(range(len(evaluation.classes)), evaluation.classes, **names)
    axes.set(xlabel="predicted", ylabel="true", title=f"{evaluation.right} of {evaluation.total} right")
    for (row, column), count in np.ndenumerate(evaluation.confusion):
        if count and len(columns) <= _MAX_SHOWN:
            shade = "white" if shares[row, column] > 0.5 else "black"  # noqa: PLR2004 - half the color range
            axes.text(column, row, str(count), ha="center", va="center", color=shade)
    figure.savefig(file, dpi=120)

"""Calibrate a model on the images of a check."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.calibration.calibrate import COVERAGE, FEWEST, Calibrated, Known, calibrate
from src.calibration.samples import Samples
from src.calibration.words import lines
from src.evaluation.observations import Observations
from src.store.manifest import Manifest

__all__ = ["Lesson", "learn"]


@dataclass(frozen=True, slots=True)
class Lesson:
    """The result of a calibration on ``samples``; ``calibrated`` is None if there are fewer than 50.

    ``trained_on`` counts the images left out because the network was trained on them; None: its checkpoint does not
    list the images it was trained on. ``kept``: the calibration in the checkpoint is kept.
    """

    samples: Samples
    trained_on: int | None
    calibrated: Calibrated | None
    kept: bool = False

    @property
    def figures(self) -> dict[str, int]:
        """The figures that the model store keeps in addition to those of the check."""
        return {} if self.trained_on is None else {"trained_on": self.trained_on}

    def lines(self) -> Iterator[str]:
        """Yield a report of what was learned, and why anything was not."""
        number = len(self.samples)
        if self.trained_on is None:
            yield "trained on    not known: the checkpoint does not list the images it was trained on"
        elif self.trained_on:
            yield f"left out      {self.trained_on} images the model was trained on; {number} others remain"
        if self.calibrated is None:
            stays = "; the calibration from training is kept" if self.kept else ""
            yield f"calibration   needs {FEWEST} different images the model was not trained on, not {number}{stays}"
        else:
            yield from lines(self.calibrated, self.samples)


def learn(  # noqa: PLR0913, PLR0917 - the images, the model, and what is known about both
    observed: Observations,
    targets: NDArray[np.int64],
    manifest: Manifest,
    known: Known | None,
    learned_from: Collection[bytes] | None,
    coverage: int = COVERAGE,
) -> Lesson:
    """Calibrate a model on the images of a check, without duplicates or images that it ``learned_from``.

    Args:
        observed: The images.
        targets: The class of each image, (N,); 0 if images can belong to several.
        manifest: The model.
        known: The Gaussians of its classes, if its checkpoint has them.
        learned_from: The SHA-256 of each file that it was trained on; None: unknown.
        coverage: The percentage of images whose set should contain their class.
    """
    others = observed.others(learned_from or ())
    chosen = observed.first & others
    if manifest.output.exclusive:  # an image of a class whose name is not unique may belong to any class of that name
        single = np.array([manifest.labels.count(label) == 1 for label in manifest.labels])
        chosen &= single[targets]
    samples = Samples(observed.logits, observed.features, targets).take(chosen)
    trained_on = None if learned_from is None else int((~others).sum())
    if len(samples) < FEWEST:
        return Lesson(samples, trained_on, None, kept=manifest.learned is not None)
    calibrated = calibrate(samples, manifest.output, "check", known or manifest.layer, coverage)
    return Lesson(samples, trained_on, calibrated)

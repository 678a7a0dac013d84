"""The images of a check -> what a model learns from them of how sure its answers are."""

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
    """What was ``calibrated`` on ``samples``: nothing, where there are fewer than 50 of them.

    ``trained_on`` counts images that the network itself had learned from, which are left out; None: its checkpoint does
    not say from which it has.
    ``kept``: what the checkpoint says of its calibration stays.
    """

    samples: Samples
    trained_on: int | None
    calibrated: Calibrated | None
    kept: bool = False

    @property
    def figures(self) -> dict[str, int]:
        """What the model store keeps beside the figures of the check."""
        return {} if self.trained_on is None else {"trained_on": self.trained_on}

    def lines(self) -> Iterator[str]:
        """Yield in words what was learned, and why something was not."""
        number = len(self.samples)
        if self.trained_on is None:
            yield "trained on    not known: the checkpoint does not say whether it learned from these images"
        elif self.trained_on:
            yield f"left out      {self.trained_on} images that it was trained on; {number} others to learn from"
        if self.calibrated is None:
            stays = ": that of its training stays" if self.kept else ""
            yield f"calibration   needs {FEWEST} different images that it was not trained on, not {number}{stays}"
        else:
            yield from lines(self.calibrated, self.samples)


def learn(  # noqa: PLR0913, PLR0917 - the images, the model, and what is known of both
    observed: Observations,
    targets: NDArray[np.int64],
    manifest: Manifest,
    known: Known | None,
    learned_from: Collection[bytes] | None,
    coverage: int = COVERAGE,
) -> Lesson:
    """Calibrate a model on the images of a check, each one once, but for those that it ``learned_from``.

    Args:
        observed: The images.
        targets: The class of each, (N,); where an image may be of several, 0.
        manifest: The model.
        known: Where its classes lie, if its checkpoint says so.
        learned_from: SHA-256 of the files that it was trained on; None: not known.
        coverage: Percent of the images whose set shall hold their class.
    """
    others = observed.others(learned_from or ())
    chosen = observed.first & others
    if manifest.output.exclusive:  # an image of a class whose name others have, too, may be of any of them
        single = np.array([manifest.labels.count(label) == 1 for label in manifest.labels])
        chosen &= single[targets]
    samples = Samples(observed.logits, observed.features, targets).take(chosen)
    trained_on = None if learned_from is None else int((~others).sum())
    if len(samples) < FEWEST:
        return Lesson(samples, trained_on, None, kept=manifest.learned is not None)
    calibrated = calibrate(samples, manifest.output, "check", known or manifest.layer, coverage)
    return Lesson(samples, trained_on, calibrated)

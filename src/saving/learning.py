"""Calibrate a model with what its checkpoint carries, and on the images of a check."""

import numpy as np
from numpy.typing import NDArray

from src.calibration.calibrate import COVERAGE, Known
from src.checkpoints.carried import Carried
from src.conversion.draft import Draft
from src.evaluation.confidence import Lesson, learn
from src.evaluation.observations import Observations
from src.stages.confidence import Familiarity
from src.stages.learned import Learned
from src.store.files import FAMILIARITY

__all__ = ["learn_from", "take_over"]


def take_over(draft: Draft, carried: Carried | None) -> tuple[Draft, str | None]:
    """Return the model with the calibration that its checkpoint ``carried``, and a line for the report.

    The calibration does not apply if the preprocessing or the meaning of the outputs differs from training, and
    familiarity does not apply to the features of another layer.
    """
    if carried is None or carried.learned is None:
        return draft, None
    manifest = draft.manifest
    if manifest.input != carried.input or manifest.output.kind != carried.output.kind:
        return draft, "calibration   that of its training does not apply: the preprocessing or output kind differs"
    learned, familiarity = carried.learned, carried.familiarity
    if learned.familiarity and (learned.familiarity.layer != manifest.layer or not _fits(familiarity, draft)):
        learned, familiarity = learned.model_copy(update={"familiarity": None}), None
    output = manifest.output.model_copy(update={"temperature": carried.output.temperature})
    return draft.with_learned(output, learned, familiarity), f"calibration   {_words(learned)}"


def learn_from(
    observed: Observations, targets: NDArray[np.int64], draft: Draft, carried: Carried | None, coverage: int | None
) -> tuple[Draft, Lesson]:
    """Calibrate the model on the images of a check, unless they are too few; return it and what it learned.

    Args:
        observed: The images.
        targets: Class of each image, (N,); 0 if images may belong to several.
        draft: The model.
        carried: What its checkpoint carries from its training.
        coverage: Percentage of images whose prediction set should include their class; None for 90.
    """
    learned_from = None if carried is None else carried.learned_from
    lesson = learn(observed, targets, draft.manifest, _known(draft), learned_from, coverage or COVERAGE)
    if (found := lesson.calibrated) is None:
        return draft, lesson
    return draft.with_learned(found.output, found.learned, found.familiarity), lesson


def _known(draft: Draft) -> Known | None:
    learned = draft.manifest.learned
    if learned is None or learned.familiarity is None:
        return None
    familiarity = Familiarity.load(draft.folder / FAMILIARITY)
    return Known(familiarity, learned.familiarity.images, learned.familiarity.layer)


def _fits(familiarity: Familiarity | None, draft: Draft) -> bool:
    classes = len(draft.manifest.labels) if draft.manifest.output.exclusive else 1
    wanted = draft.manifest.features.channels, classes
    return familiarity is not None and (len(familiarity.places), len(familiarity.means)) == wanted


def _words(learned: Learned) -> str:
    names = {"temperature": learned.calibration, "prediction sets": learned.sets, "familiarity": learned.familiarity}
    said = ", ".join(name for name, found in names.items() if found) or "nothing"
    return f"{said}, learned in its training from {learned.images} held-out images"

"""What a model learns of its answers: what its checkpoint says, and what the images of a check show."""

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
    """Return the model with what its checkpoint ``carried``, and in words what became of it.

    That does not hold where images are prepared, or outputs understood, otherwise than in its training; whether images
    are familiar cannot be told by the features of another layer.
    """
    if carried is None or carried.learned is None:
        return draft, None
    manifest = draft.manifest
    if manifest.input != carried.input or manifest.output.kind != carried.output.kind:
        return draft, "calibration   that of its training does not hold: images are prepared otherwise than there"
    learned, familiarity = carried.learned, carried.familiarity
    if learned.familiarity and (learned.familiarity.layer != manifest.layer or not _fits(familiarity, draft)):
        learned, familiarity = learned.model_copy(update={"familiarity": None}), None
    output = manifest.output.model_copy(update={"temperature": carried.output.temperature})
    return draft.with_learned(output, learned, familiarity), f"calibration   {_words(learned)}"


def learn_from(
    observed: Observations, targets: NDArray[np.int64], draft: Draft, carried: Carried | None, coverage: int | None
) -> tuple[Draft, Lesson]:
    """Return the model with what it learned from the images of a check, unless they are too few, and what that was.

    Args:
        observed: The images.
        targets: The class of each, (N,); where an image may be of several, 0.
        draft: The model.
        carried: What its checkpoint says of its training.
        coverage: Percent of the images whose prediction set shall hold their class; 90 if it is None.
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
    what = [name for name in ("calibration", "sets", "familiarity") if getattr(learned, name) is not None]
    names = {"calibration": "the temperature", "sets": "prediction sets", "familiarity": "what is familiar"}
    said = ", ".join(names[name] for name in what) or "nothing"
    return f"{said}, learned in its training from {learned.images} images held back"

"""Learn temperature, prediction sets and familiarity from the logits and features of labeled images."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from src.calibration.familiarity import FEWEST_OF_CLASS, distances, fit_familiarity, has_enough_of_each
from src.calibration.quantile import conformal_quantile, tolerance_bound
from src.calibration.samples import FOLDS, Samples, folds
from src.calibration.temperature import calibration_error, fit_temperature, reliability
from src.stages.confidence import Familiarity, in_set
from src.stages.learned import Calibration, FamiliarityFigures, Learned, PredictionSets, Range
from src.stages.output_spec import OutputSpec

__all__ = ["COVERAGE", "FEWEST", "Calibrated", "Known", "calibrate"]

FEWEST: Final = 50
COVERAGE: Final = 90  # percent
_FAMILIAR: Final = 0.975  # minimum share of images of its classes that a model finds familiar,
_CERTAINTY: Final = 0.9  # with this probability: a few images may all be near by chance


@dataclass(frozen=True, slots=True)
class Known:
    """The Gaussians of the classes over the features of ``layer``, learned from this number of ``images``."""

    familiarity: Familiarity
    images: int
    layer: str


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The result of a calibration, with the new output of the model.

    ``unseen`` are the logits (N, C) of the images, each divided by a temperature fitted to other images; ``remarks``
    say what could not be learned, and why.
    """

    output: OutputSpec
    learned: Learned
    familiarity: Familiarity | None
    unseen: NDArray[np.float32]
    remarks: tuple[str, ...]


def calibrate(
    seen: Samples,
    output: OutputSpec,
    source: Literal["check", "training"],
    known: Known | str,
    coverage: int = COVERAGE,
) -> Calibrated:
    """Learn temperature, prediction sets and familiarity from at least 50 images that the network was not trained on.

    Every figure is measured on images that were not used for fitting, by cross-validation. Whatever would need more
    images is left out.

    Args:
        seen: The images.
        output: The output of the network; its temperature is learned again.
        source: Where the images come from.
        known: The Gaussians of the classes; or the layer of the features, to learn the Gaussians from ``seen``.
        coverage: The percentage of images whose set should contain their class.
    """
    percentages = _percentages(seen, output, coverage) if output.exclusive else None
    familiarity, figures = _familiarity(seen, seen.logits.shape[1] if output.exclusive else 1, known)
    learned = Learned(
        source=source,
        images=len(seen),
        calibration=percentages and percentages.calibration,
        sets=percentages and percentages.sets,
        familiarity=figures,
    )
    few = {
        f"prediction sets of {coverage} % coverage need more than {len(seen)} images": output.exclusive
        and learned.sets is None,
        f"familiarity needs {FEWEST_OF_CLASS} different images of each class": figures is None,
    }
    return Calibrated(
        percentages.output if percentages else output,
        learned,
        familiarity,
        percentages.unseen if percentages else seen.logits,
        tuple(remark for remark, applies in few.items() if applies),
    )


@dataclass(frozen=True, slots=True)
class _Percentages:
    output: OutputSpec
    calibration: Calibration
    sets: PredictionSets | None
    unseen: NDArray[np.float32]


def _percentages(seen: Samples, output: OutputSpec, coverage: int) -> _Percentages:
    plain = output.model_copy(update={"temperature": 1.0})
    whole, threshold = _fitted(seen, plain, coverage)
    unseen, sets = np.empty_like(seen.logits), np.empty(seen.logits.shape, np.bool_)
    for part in folds(seen.targets):
        fitted, least = _fitted(seen.take(~part), plain, coverage)
        unseen[part] = seen.logits[part] / np.float32(fitted.temperature)
        sets[part] = in_set(plain.percents(unseen[part]) / 100, least)
        threshold = threshold if least else 0.0
    before, after = (calibration_error(logits, seen.targets, plain) for logits in (seen.logits, unseen))
    found = PredictionSets(
        coverage=coverage,
        threshold=threshold,
        measured=float(sets[np.arange(len(seen)), seen.targets].mean()),
        mean_size=float(sets.sum(axis=1).mean()),
    )
    ranges = zip(*(values.tolist() for values in reliability(unseen, seen.targets, plain)), strict=True)
    figures = Calibration(
        folds=FOLDS,
        error_before=before,
        error_after=after,
        reliability=tuple(Range(said=said, right=right, images=images) for said, right, images in ranges if images),
    )
    return _Percentages(whole, figures, found if threshold > 0 else None, unseen)


def _fitted(seen: Samples, plain: OutputSpec, coverage: int) -> tuple[OutputSpec, float]:
    """Return the output with its temperature, and the lowest probability in a prediction set: 0 with too few images."""
    output = plain.model_copy(update={"temperature": fit_temperature(seen.logits, seen.targets)})
    likely = output.percents(seen.logits)[np.arange(len(seen)), seen.targets] / 100
    lacking = conformal_quantile(-likely, coverage / 100)
    return output, 0.0 if lacking is None else -lacking


def _familiarity(
    seen: Samples, classes: int, known: Known | str
) -> tuple[Familiarity, FamiliarityFigures] | tuple[None, None]:
    """Return the Gaussians, and the distance that at most one in forty images of the classes exceeds."""
    if isinstance(known, Known):
        apart = distances(known.familiarity, seen.features)
    elif has_enough_of_each(seen.targets, classes):
        apart = np.empty(len(seen))
        for part in folds(seen.targets):
            rest = seen.take(~part)
            apart[part] = distances(fit_familiarity(rest.features, rest.targets, classes), seen.features[part])
        known = Known(fit_familiarity(seen.features, seen.targets, classes), len(seen), known)
    else:
        return None, None
    threshold = tolerance_bound(apart, _FAMILIAR, _CERTAINTY)
    if not threshold > 0:
        return None, None
    beyond = [apart[part] > tolerance_bound(apart[~part], _FAMILIAR, _CERTAINTY) for part in folds(seen.targets)]
    figures = FamiliarityFigures(
        threshold=threshold, false_alarms=float(np.concatenate(beyond).mean()), images=known.images, layer=known.layer
    )
    return known.familiarity, figures

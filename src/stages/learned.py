"""Calibration, prediction sets and familiarity of a model, learned from labeled images and stored with it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Calibration", "FamiliarityFigures", "Learned", "PredictionSets", "Range"]


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(_Figures):
    """One of fifteen equally wide ranges of percentages, and the images whose percentage is in it."""

    said: float = Field(description="Mean probability of their most likely class, 0 to 1.")
    right: float = Field(description="Share of these images that were classified correctly, 0 to 1.")
    images: int = Field(description="Number of these images.")


class Calibration(_Figures):
    """How well the percentages are calibrated.

    The expected calibration error is the mean difference between confidence and accuracy over 15 ranges of percentages,
    weighted by their images; Guo et al., https://arxiv.org/abs/1706.04599. It is measured on images that were not used
    for fitting.
    """

    folds: int = Field(description="Number of folds of the images; each was evaluated with a fit to the others.")
    error_before: float = Field(description="Expected calibration error without a temperature, 0 to 1.")
    error_after: float = Field(description="The same with the temperature of the output.")
    reliability: tuple[Range, ...] = Field(
        default=(), description="The ranges that have images, with that temperature."
    )


class PredictionSets(_Figures):
    """Prediction sets, which include the right class as often as requested.

    The set of an image has every class of at least the threshold's probability, and always the most likely one;
    Sadinle, Lei and Wasserman, https://arxiv.org/abs/1609.00451.
    """

    coverage: int = Field(ge=1, le=99, description="Percent of the images whose set should include their class.")
    threshold: float = Field(ge=0, le=1, description="Probability from which a class is in the set.")
    measured: float = Field(
        description="Share of the images, not used for fitting, whose set includes their class, 0 to 1."
    )
    mean_size: float = Field(description="Mean number of classes in their sets.")


class FamiliarityFigures(_Figures):
    """The distance from which an image does not resemble the images that the model learned."""

    threshold: float = Field(gt=0, description="Squared Mahalanobis distance beyond which an image is unfamiliar.")
    false_alarms: float = Field(description="Share of the images, not used for fitting, that are beyond it, 0 to 1.")
    images: int = Field(description="Number of images that the classes were learned from.")
    layer: str = Field(description="The layer whose pooled features are compared.")


class Learned(_Figures):
    """What was learned from ``images`` labeled images; a field is null if they were too few for it."""

    source: Literal["check", "training"] = Field(
        description="check: from the folder of a check; training: from images held out from training."
    )
    images: int = Field(description="Images that it was learned from; identical files count once.")
    calibration: Calibration | None = None
    sets: PredictionSets | None = None
    familiarity: FamiliarityFigures | None = None

"""What a model has learned about its own answers, from labelled images: figures that are stored with it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Calibration", "FamiliarityFigures", "Learned", "PredictionSets", "Range"]

_STRICT = ConfigDict(frozen=True, extra="forbid")


class Range(BaseModel):
    """A range of percentages, of fifteen that are equally wide, that some images got."""

    model_config = _STRICT

    said: float = Field(description="Mean probability of their most likely class, 0 to 1.")
    right: float = Field(description="Share of these images that were right, 0 to 1.")
    images: int = Field(description="How many images these are.")


class Calibration(BaseModel):
    """How well the percentages mean what they say: what they promise, and how often they are right.

    The expected calibration error is the mean difference of the two, over 15 ranges of percentages, each counted by its
    images; Guo et al., https://arxiv.org/abs/1706.04599. It is measured on images that were not used for fitting.
    """

    model_config = _STRICT

    folds: int = Field(description="In so many parts the images were split; each was judged by a fit to the others.")
    error_before: float = Field(description="Expected calibration error without a temperature, 0 to 1.")
    error_after: float = Field(description="The same with the temperature of the output.")
    reliability: tuple[Range, ...] = Field(default=(), description="With that temperature, the ranges with images.")


class PredictionSets(BaseModel):
    """The classes that together hold the right one as often as was asked for.

    An image's set is every class of at least this probability, and always the most likely one; Sadinle, Lei and
    Wasserman, https://arxiv.org/abs/1609.00451.
    """

    model_config = _STRICT

    coverage: int = Field(ge=1, le=99, description="Percent of the images whose set was to hold their class.")
    threshold: float = Field(ge=0, le=1, description="Probability from which a class is in the set.")
    measured: float = Field(
        description="Share of the images, not used for fitting, whose set held their class, 0 to 1."
    )
    mean_size: float = Field(description="Mean number of classes in their sets.")


class FamiliarityFigures(BaseModel):
    """From where on an image does not look like anything that the model was taught."""

    model_config = _STRICT

    threshold: float = Field(gt=0, description="Squared Mahalanobis distance beyond which an image is unfamiliar.")
    false_alarms: float = Field(description="Share of the images, not used for fitting, that are beyond it, 0 to 1.")
    images: int = Field(description="From so many images the model knows what its classes look like.")
    layer: str = Field(description="The layer whose pooled features are compared.")


class Learned(BaseModel):
    """What was learned from ``images`` labelled images; null in it is what they were too few for."""

    model_config = _STRICT

    source: Literal["check", "training"] = Field(
        description="check: from the folder of a check; training: from images that were held back from training."
    )
    images: int = Field(description="Images that it was learned from; equal files count once.")
    calibration: Calibration | None = None
    sets: PredictionSets | None = None
    familiarity: FamiliarityFigures | None = None

"""The JSON of answers and errors."""

from typing import TYPE_CHECKING, Literal, Self

import pybase64
from pydantic import BaseModel, ConfigDict, Field

from src.options import ImageFormat, Method

if TYPE_CHECKING:  # the process that supervises the workers documents the API too, without loading a network
    from src.pipeline import Recognition

__all__ = ["BatchResponse", "ErrorBody", "ErrorResponse", "RecognitionResponse", "Response"]


class Response(BaseModel):
    """The base of all responses."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, json_schema_serialization_defaults_required=True)


class ClassResponse(Response):
    """A class, its probability, and, if requested, its heatmap."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)  # the heatmap is optional

    label: str = Field(alias="class", description="Name of the class.")
    index: int = Field(description="Number of the class, from 0.")
    prob: float = Field(
        description="Percent; the listed classes and other sum to 100, except in a multi-label model, where each class"
        " is independent."
    )
    heatmap: list[list[float]] | None = Field(
        default=None,
        exclude_if=lambda heatmap: heatmap is None,
        description="Grad-CAM, h rows of w numbers in [0, 1], over the box of the image; only if requested.",
    )


class ExplainedResponse(Response):
    """The explanation that the returned image shows."""

    label: str = Field(alias="class", description="The class that the heatmap explains.")
    versus: str | None = Field(description="The class that it is contrasted with; null if the request named none.")
    method: Method = Field(description="The method that computed the heatmap.")
    evidence: bool = Field(description="false if nothing in the image supports the class; the heatmap is then empty.")
    format: ImageFormat = Field(description="Encoding of the returned image.")


class ImageResponse(Response):
    """The size of the image, and the part that the network saw."""

    width: int = Field(description="Width of the upright image in pixels.")
    height: int = Field(description="Height of the upright image in pixels.")
    box: tuple[float, float, float, float] = Field(
        description="x0, y0, x1, y1: the part of the upright image that the network saw, in pixels."
    )


class ConfidenceResponse(Response):
    """How confident the answer is, as far as the model was checked or calibrated."""

    familiar: bool | None = Field(
        description="false: the image does not resemble the images that the model has learned; null: unknown."
    )
    set: tuple[str, ...] | None = Field(
        description="The classes, most likely first, that include the right one in coverage percent of all cases; null"
        " in a multi-label model, and if there were too few images to calibrate it."
    )
    coverage: int | None = Field(description="Percent; null where set is.")


class RecognitionResponse(Response):
    """The classes of an image, how confident the model is, and the heatmap that explains one of them."""

    success: Literal[True] = True
    result: str = Field(description="The most likely class.")
    detail: list[ClassResponse] = Field(description="The most likely classes, most likely first.")
    other: float | None = Field(
        description="Percent of all classes that are not listed; 0 if all are listed; null in a multi-label model."
    )
    results: tuple[str, ...] | None = Field(
        default=None,
        exclude_if=lambda results: results is None,
        description="Multi-label models only: the classes above their thresholds, most likely first.",
    )
    confidence: ConfidenceResponse | None = Field(
        default=None,
        description="How confident the answer is; null if the model has learned neither of these.",
    )
    gradcam: str | None = Field(description="The image with the heatmap drawn on it, base64; null if not requested.")
    explained: ExplainedResponse | None = Field(description="What the image in gradcam shows; null if gradcam is null.")
    image: ImageResponse
    model: str = Field(description="Tag of the model that answered.")

    @classmethod
    def of(cls, recognition: "Recognition", model: str) -> Self:
        """Return ``recognition`` as the answer of the model with the tag ``model``."""
        top, box, explanation = recognition.prediction.top, recognition.box, recognition.explanation
        sure = recognition.confidence
        heatmaps = [heatmap.astype(float).round(6).tolist() for heatmap in recognition.heatmaps] or [None] * len(top)
        return cls(
            result=top[0].label,
            detail=[
                ClassResponse(label=score.label, index=score.index, prob=score.percent, heatmap=heatmap)
                for score, heatmap in zip(top, heatmaps, strict=True)
            ],
            other=recognition.prediction.other,
            results=recognition.prediction.seen,
            confidence=sure and ConfidenceResponse(familiar=sure.familiar, set=sure.labels, coverage=sure.coverage),
            gradcam=explanation and pybase64.b64encode_as_string(explanation.image),
            explained=explanation and ExplainedResponse.model_validate(explanation, from_attributes=True),
            image=ImageResponse(
                width=recognition.width, height=recognition.height, box=(box.x0, box.y0, box.x1, box.y1)
            ),
            model=model,
        )


class ErrorBody(Response):
    """Why a request was refused or failed."""

    code: str = Field(description="Short name of the error, for programs.")
    message: str = Field(description="What is wrong and what to do, for people.")


class ErrorResponse(Response):
    """The format of every error."""

    success: Literal[False] = False
    error: ErrorBody


class BatchResponse(Response):
    """One answer or error for each image, in the order of the request."""

    success: Literal[True] = True
    results: list[RecognitionResponse | ErrorResponse]

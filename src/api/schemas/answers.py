"""The JSON of answers and errors."""

from typing import TYPE_CHECKING, Literal, Self

import pybase64
from pydantic import BaseModel, ConfigDict, Field

from src.options import ImageFormat, Method

if TYPE_CHECKING:  # the process that supervises the workers documents the API too, and needs no network for it
    from src.pipeline import Recognition

__all__ = ["BatchResponse", "ErrorBody", "ErrorResponse", "RecognitionResponse", "Response"]


class Response(BaseModel):
    """What all of them have in common."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, json_schema_serialization_defaults_required=True)


class ClassResponse(Response):
    """A class, how likely it is, and, if asked for, where the evidence for it lies."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)  # the heatmap is not always there

    label: str = Field(alias="class", description="Name of the class.")
    index: int = Field(description="Number of the class, from 0.")
    prob: float = Field(
        description="Percent; the listed classes and other sum to 100, but in a multi-label model each is on its own."
    )
    heatmap: list[list[float]] | None = Field(
        default=None,
        exclude_if=lambda heatmap: heatmap is None,
        description="Grad-CAM, h rows of w numbers in [0, 1], over the box of the image; only if asked for.",
    )


class ExplainedResponse(Response):
    """What the returned image shows."""

    label: str = Field(alias="class", description="The class that the heat speaks for.")
    versus: str | None = Field(description="The class against which it was explained; null if none was named.")
    method: Method = Field(description="How the heat was computed.")
    evidence: bool = Field(description="false if nothing in the image spoke for the class: there is no heat then.")
    format: ImageFormat = Field(description="Encoding of the returned image.")


class ImageResponse(Response):
    """The image as it was understood."""

    width: int = Field(description="Width of the upright image in pixels.")
    height: int = Field(description="Height of the upright image in pixels.")
    box: tuple[float, float, float, float] = Field(
        description="x0, y0, x1, y1: the part of the upright image that the network saw, in pixels."
    )


class ConfidenceResponse(Response):
    """How sure the answer is, as far as the model has learned to tell."""

    familiar: bool | None = Field(
        description="false: the image does not look like anything that the model was taught; null: it cannot tell."
    )
    set: list[str] | None = Field(
        description="The classes, most likely first, that hold the right one in coverage percent of all cases; null"
        " in a multi-label model, and where there were too few images to learn that from."
    )
    coverage: int | None = Field(description="Percent; null where set is.")


class RecognitionResponse(Response):
    """What is in an image, how sure the model is, and which pixels spoke for it."""

    success: Literal[True] = True
    result: str = Field(description="The most likely class.")
    detail: list[ClassResponse] = Field(description="The most likely classes, most likely first.")
    other: float | None = Field(
        description="Percent of all classes that are not listed; 0 where all are; null in a multi-label model."
    )
    results: list[str] | None = Field(
        default=None,
        exclude_if=lambda results: results is None,
        description="Multi-label models only: the classes above their thresholds, most likely first.",
    )
    confidence: ConfidenceResponse | None = Field(
        default=None,
        description="How sure the answer is; null where the model was neither checked nor calibrated in its training.",
    )
    gradcam: str | None = Field(description="The image with the heat on it, base64; null if not asked for.")
    explained: ExplainedResponse | None = Field(description="What the image in gradcam shows; null if there is none.")
    image: ImageResponse
    model: str = Field(description="Tag of the model that answered.")

    @classmethod
    def of(cls, recognition: "Recognition", model: str) -> Self:
        """Write down ``recognition`` as the answer of the model with the tag ``model``."""
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
            results=None if (seen := recognition.prediction.seen) is None else list(seen),
            confidence=sure
            and ConfidenceResponse(
                familiar=sure.familiar,
                set=None if sure.labels is None else list(sure.labels),
                coverage=sure.coverage,
            ),
            gradcam=explanation and pybase64.b64encode_as_string(explanation.image),
            explained=explanation
            and ExplainedResponse(
                label=explanation.label,
                versus=explanation.versus,
                method=explanation.method,
                evidence=explanation.evidence,
                format=explanation.format,
            ),
            image=ImageResponse(
                width=recognition.width, height=recognition.height, box=(box.x0, box.y0, box.x1, box.y1)
            ),
            model=model,
        )


class ErrorBody(Response):
    """Why a request was not answered."""

    code: str = Field(description="Short name of the error, for programs.")
    message: str = Field(description="What is wrong and what to do, for people.")


class ErrorResponse(Response):
    """The one shape of every error."""

    success: Literal[False] = False
    error: ErrorBody


class BatchResponse(Response):
    """One answer or error for each image, in the order of the request."""

    success: Literal[True] = True
    results: list[RecognitionResponse | ErrorResponse]

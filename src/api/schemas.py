"""The JSON of requests and responses."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import pybase64
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from src.options import ImageFormat, Method, Options
from src.stages.input_spec import InputSpec
from src.stages.learned import Learned
from src.stages.output_spec import OutputSpec

if TYPE_CHECKING:  # the process that supervises the workers documents the API too, and needs no torch for it
    from src.pipeline import Recognition
    from src.runtimes.base import Runtime
    from src.store.bundle import Bundle

__all__ = [
    "BatchRequest",
    "BatchResponse",
    "ErrorBody",
    "ErrorResponse",
    "FileRequest",
    "ModelResponse",
    "RecognitionRequest",
    "RecognitionResponse",
]


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, json_schema_serialization_defaults_required=True)


class RecognitionRequest(Options):
    """One image and what to find out about it."""

    img: str = Field(description="Image file as base64 (standard or URL-safe, line breaks ignored) or as a data: URL.")


class FileRequest(Options):
    """One image as a file of a multipart form; the options are fields of the same form."""

    img: Path = Field(description="Image file.", json_schema_extra={"format": "binary"})


class BatchRequest(Options):
    """Several images; the options hold for each of them."""

    imgs: list[str] = Field(
        min_length=1, description="Image files, each as in a request for one; 64 at most by default."
    )


class ClassResponse(_Response):
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


class ExplainedResponse(_Response):
    """What the returned image shows."""

    label: str = Field(alias="class", description="The class that the heat speaks for.")
    versus: str | None = Field(description="The class against which it was explained; null if none was named.")
    method: Method = Field(description="How the heat was computed.")
    evidence: bool = Field(description="false if nothing in the image spoke for the class: there is no heat then.")
    format: ImageFormat = Field(description="Encoding of the returned image.")


class ImageResponse(_Response):
    """The image as it was understood."""

    width: int = Field(description="Width of the upright image in pixels.")
    height: int = Field(description="Height of the upright image in pixels.")
    box: tuple[float, float, float, float] = Field(
        description="x0, y0, x1, y1: the part of the upright image that the network saw, in pixels."
    )


class ConfidenceResponse(_Response):
    """How sure the answer is, as far as the model has learned to tell."""

    familiar: bool | None = Field(
        description="false: the image does not look like anything that the model was taught; null: it cannot tell."
    )
    set: list[str] | None = Field(
        description="The classes, most likely first, that hold the right one in coverage percent of all cases; null"
        " in a multi-label model, and where there were too few images to learn that from."
    )
    coverage: int | None = Field(description="Percent; null where set is.")


class RecognitionResponse(_Response):
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


class ErrorBody(_Response):
    """Why a request was not answered."""

    code: str = Field(description="Short name of the error, for programs.")
    message: str = Field(description="What is wrong and what to do, for people.")


class ErrorResponse(_Response):
    """The one shape of every error."""

    success: Literal[False] = False
    error: ErrorBody


class BatchResponse(_Response):
    """One answer or error for each image, in the order of the request."""

    success: Literal[True] = True
    results: list[RecognitionResponse | ErrorResponse]


class MeasuresResponse(_Response):
    """How faithful the heatmaps of a method are: means over images."""

    deletion: float = Field(description="Area under the probability while the hottest pixels go first; low is good.")
    insertion: float = Field(description="The same while they come first, from a blurred image; high is good.")
    road: float = Field(description="Probability without the coldest pixels less that without the hottest; ROAD.")
    drop: float = Field(description="Share of the probability that is lost if only the hot pixels remain; low is good.")
    increase: float = Field(description="Share of the images whose probability is then higher; high is good.")
    randomized: float = Field(
        description="Rank correlation with the heatmaps of the same network with random weights; near 0 is good."
    )


class FaithfulnessResponse(_Response):
    """How faithful the heatmaps are, by each method, for the class that was recognized."""

    images: int = Field(description="How many were measured.")
    steps: int = Field(description="In how many steps pixels go and come.")
    best: Method = Field(description="The method with the best mean rank over all measures but `randomized`.")
    methods: dict[Method, MeasuresResponse]


class ConfusionResponse(_Response):
    """What the model took images for."""

    classes: list[str]
    counts: list[list[int]] = Field(
        description="Row: the class of the images; column: what they were called, the last one for any other class."
    )


class CheckResponse(_Response):
    """What a check on labelled images found before the model was stored."""

    images: int = Field(validation_alias=AliasChoices("images", "pictures"))  # the earlier name, in stored models
    accuracy: float = Field(
        description="Share of the images that got their class, 0 to 1; in a multi-label model just their classes."
    )
    trained_on: int | None = Field(
        default=None,
        description="How many of them the network was trained on; null: not known, since its checkpoint does not say.",
    )
    recall: dict[str, float] = Field(description="The same for each class: share of its images that got it.")
    precision: dict[str, float] | None = Field(
        default=None,
        exclude_if=lambda precision: precision is None,
        description="Multi-label models only: for each class the share of the images that got it and are of it.",
    )
    average_precision: dict[str, float] | None = Field(
        default=None,
        exclude_if=lambda precision: precision is None,
        description="Multi-label models only: for each class the area under its precision over recall.",
    )
    confusion: ConfusionResponse | None = Field(
        default=None, description="Null for more than 20 classes, and for multi-label models."
    )
    digest: str | None = Field(
        default=None, description="Which images those were: the SHA-256 of the sorted SHA-256 of all files."
    )
    faithfulness: FaithfulnessResponse | None = Field(
        default=None, description="How faithful the heatmaps were; null if an earlier version checked the model."
    )


class ModelResponse(_Response):
    """The model that answers, and how it runs."""

    success: Literal[True] = True
    model: str = Field(description="Tag in the model store.")
    architecture: str
    labels: tuple[str, ...]
    input: InputSpec
    output: OutputSpec = OutputSpec()
    layer: str = Field(description="The Grad-CAM layer.")
    exact: bool = Field(
        default=False,
        description="Whether the map of a class by gradcam, before ReLU and division by its maximum, sums to its logit"
        " less the bias, so that nothing is left unexplained: verified when the model was stored.",
    )
    runtime: str
    precision: str
    device: str
    bf16: bool | None = Field(
        default=None,
        description="Whether the check found that bf16 changes nothing that matters, so that the precision auto takes"
        " it where the CPU has it; null: it was not tried.",
    )
    check: CheckResponse | None = Field(description="How it did on labelled images; null if it was not checked.")
    calibrated: bool = Field(
        default=False,
        description="Whether its percentages were calibrated on labelled images, so that they mean what they say.",
    )
    learned: Learned | None = Field(
        default=None,
        description="What it learned of its answers from labelled images, and the figures; null if nothing.",
    )

    @classmethod
    def of(cls, bundle: "Bundle", runtime: "Runtime") -> Self:
        """Describe the model of ``bundle`` and how it runs."""
        manifest = bundle.manifest
        return cls(
            model=bundle.tag,
            architecture=manifest.architecture,
            labels=manifest.labels,
            input=manifest.input,
            output=manifest.output,
            layer=manifest.layer,
            exact=manifest.exact,
            runtime=runtime.name,
            precision=runtime.precision,
            device=runtime.device,
            bf16=manifest.bf16,
            check=CheckResponse.model_validate(bundle.check) if bundle.check else None,
            calibrated=manifest.learned is not None and manifest.learned.calibration is not None,
            learned=manifest.learned,
        )

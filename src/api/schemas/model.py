"""The JSON that describes the model: its card."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import AliasChoices, Field

from src.api.schemas.answers import Response
from src.options import Method
from src.stages.input_spec import InputSpec
from src.stages.learned import Learned
from src.stages.output_spec import OutputSpec

if TYPE_CHECKING:  # the process that supervises the workers documents the API too, without importing torch
    from src.runtimes.base import Runtime
    from src.store.bundle import Bundle

__all__ = ["ModelResponse"]


class MeasuresResponse(Response):
    """How faithful the heatmaps of a method are: means over images."""

    deletion: float = Field(description="Area under the probability as pixels are deleted, hottest first; low is good.")
    insertion: float = Field(
        description="Area under the probability as pixels are inserted into a blurred image, hottest first;"
        " high is good."
    )
    road: float = Field(
        description="ROAD: probability without the coldest pixels minus that without the hottest; high is good."
    )
    drop: float = Field(description="Share of the probability that is lost if only the hot pixels remain; low is good.")
    increase: float = Field(description="Share of the images whose probability then increases; high is good.")
    randomized: float = Field(
        description="Rank correlation with the heatmaps of the same network with random weights; near 0 is good."
    )


class FaithfulnessResponse(Response):
    """How faithful the heatmaps of each method are, for the recognized class."""

    images: int = Field(description="Number of images measured.")
    steps: int = Field(description="Number of steps in which pixels are deleted and inserted.")
    best: Method = Field(description="The method with the best mean rank over all measures except `randomized`.")
    methods: dict[Method, MeasuresResponse]


class ConfusionResponse(Response):
    """The confusion matrix."""

    classes: list[str]
    counts: list[list[int]] = Field(
        description="Row: the true class; column: the predicted class, the last one for any other class."
    )


class CheckResponse(Response):
    """The results of a check on labeled images before the model was stored."""

    images: int = Field(validation_alias=AliasChoices("images", "pictures"))  # the earlier name, in stored models
    accuracy: float = Field(
        description="Share of the images that were classified correctly, 0 to 1; in a multi-label model, those with"
        " exactly their classes."
    )
    trained_on: int | None = Field(
        default=None,
        description="How many of them the network was trained on; null if its checkpoint does not say.",
    )
    recall: dict[str, float] = Field(description="For each class, the share of its images that were given it.")
    precision: dict[str, float] | None = Field(
        default=None,
        exclude_if=lambda precision: precision is None,
        description="Multi-label models only: for each class, the share of the images given it that are of it.",
    )
    average_precision: dict[str, float] | None = Field(
        default=None,
        exclude_if=lambda precision: precision is None,
        description="Multi-label models only: for each class, the area under its precision-recall curve.",
    )
    confusion: ConfusionResponse | None = Field(
        default=None, description="Null for more than 20 classes, and for multi-label models."
    )
    digest: str | None = Field(
        default=None, description="Identifies the images: the SHA-256 of the sorted SHA-256 of all files."
    )
    faithfulness: FaithfulnessResponse | None = Field(
        default=None, description="How faithful the heatmaps are; null if an earlier version checked the model."
    )


class ModelResponse(Response):
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
        description="Whether the gradcam map of a class, before ReLU and division by its maximum, sums to its logit"
        " minus the bias, so that it explains the whole score: verified when the model was stored.",
    )
    runtime: str
    precision: str
    device: str
    bf16: bool | None = Field(
        default=None,
        description="Whether the check found that bf16 changes no result significantly, so that the precision auto uses"
        " it on CPUs that support it; null: not tried.",
    )
    check: CheckResponse | None = Field(description="Results on labeled images; null if it was not checked.")
    calibrated: bool = Field(
        default=False,
        description="Whether its percentages were calibrated on labeled images.",
    )
    learned: Learned | None = Field(
        default=None,
        description="Calibration, prediction sets and familiarity, learned from labeled images; null if none.",
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
            runtime=runtime.graphs.name,
            precision=runtime.graphs.precision,
            device=runtime.graphs.device,
            bf16=manifest.bf16,
            check=CheckResponse.model_validate(bundle.check) if bundle.check else None,
            calibrated=manifest.learned is not None and manifest.learned.calibration is not None,
            learned=manifest.learned,
        )

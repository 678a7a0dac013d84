"""The JSON that describes the model: its card."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import AliasChoices, Field

from src.api.schemas.answers import Response
from src.options import Method
from src.stages.input_spec import InputSpec
from src.stages.learned import Learned
from src.stages.output_spec import OutputSpec

if TYPE_CHECKING:  # the process that supervises the workers documents the API too, and needs no torch for it
    from src.runtimes.base import Runtime
    from src.store.bundle import Bundle

__all__ = ["ModelResponse"]


class MeasuresResponse(Response):
    """How faithful the heatmaps of a method are: means over images."""

    deletion: float = Field(description="Area under the probability while the hottest pixels go first; low is good.")
    insertion: float = Field(description="The same while they come first, from a blurred image; high is good.")
    road: float = Field(description="Probability without the coldest pixels less that without the hottest; ROAD.")
    drop: float = Field(description="Share of the probability that is lost if only the hot pixels remain; low is good.")
    increase: float = Field(description="Share of the images whose probability is then higher; high is good.")
    randomized: float = Field(
        description="Rank correlation with the heatmaps of the same network with random weights; near 0 is good."
    )


class FaithfulnessResponse(Response):
    """How faithful the heatmaps are, by each method, for the class that was recognized."""

    images: int = Field(description="How many were measured.")
    steps: int = Field(description="In how many steps pixels go and come.")
    best: Method = Field(description="The method with the best mean rank over all measures but `randomized`.")
    methods: dict[Method, MeasuresResponse]


class ConfusionResponse(Response):
    """What the model took images for."""

    classes: list[str]
    counts: list[list[int]] = Field(
        description="Row: the class of the images; column: what they were called, the last one for any other class."
    )


class CheckResponse(Response):
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

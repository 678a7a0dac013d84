"""What is stored beside the graphs of a network, so that they can be used without asking anybody."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from src.stages.features import FeatureLayout
from src.stages.input_spec import InputSpec
from src.stages.learned import Learned
from src.stages.output_spec import OutputSpec

__all__ = ["SCHEMA_VERSION", "Head", "Manifest", "OutputSpec", "RuntimeName"]

SCHEMA_VERSION: Final = 3

RuntimeName = Literal["openvino", "torch"]
Head = Literal["closed_form", "gradient"]


class Manifest(BaseModel):
    """What a stored network is: enough to feed it, run it and name its answers.

    From this layout on, a field that is added has a default: what was stored before stays servable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[3] = Field(description="Version of this layout.")
    architecture: str = Field(
        description="Library and name of the network, such as timm/tf_efficientnet_lite0, or module/<Class>."
    )
    labels: tuple[str, ...] = Field(min_length=1, description="Name of each class, by index.")
    input: InputSpec
    output: OutputSpec = OutputSpec()
    layer: str = Field(description="The Grad-CAM layer: where the network is cut into backbone and head.")
    features: FeatureLayout = Field(description="How the features of that layer are maps.")
    runtime: RuntimeName = Field(description="What runs the graphs on a CPU.")
    head: Head = Field(
        description="How the Grad-CAM weights come about: from the head's matrices, or from its gradient."
    )
    batch: int = Field(
        default=1, ge=1, description="Images that a CPU had better take at once: more than 1 where that was faster."
    )
    exact: bool = Field(
        default=False,
        description="Whether the Grad-CAM map of each class, before ReLU and division by its maximum, sums to its logit"
        " less the bias: verified when it was stored.",
    )
    bf16: bool | None = Field(
        default=None,
        description="Whether bf16 changed nothing that matters on the images of a check; null: it was not tried.",
    )
    note: str = Field(default="", description="Why torch runs the graphs although OpenVINO is faster.")
    torch: str = Field(description="Version of torch that wrote the programs (.pt2): another may not read them.")
    learned: Learned | None = Field(default=None, description="What labelled images showed of its answers.")
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        description="SHA-256 of each file beside this one."
    )

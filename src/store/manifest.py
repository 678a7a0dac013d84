"""The manifest, which is stored with the graphs of a network and has everything needed to use them."""

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
    """The description of a stored network: enough to preprocess images, run it and label its outputs.

    New fields must have defaults, so that stored models stay servable.
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
    features: FeatureLayout = Field(description="The layout of that layer's features.")
    runtime: RuntimeName = Field(description="The runtime of the graphs on a CPU.")
    head: Head = Field(
        description="How the Grad-CAM weights are computed: from the head's matrices, or from its gradient."
    )
    batch: int = Field(default=1, ge=1, description="Recommended batch size on a CPU: above 1 if that was faster.")
    exact: bool = Field(
        default=False,
        description="Whether the Grad-CAM map of each class, before ReLU and division by its maximum, sums to its logit"
        " minus the bias: verified when it was stored.",
    )
    bf16: bool | None = Field(
        default=None,
        description="Whether bf16 changed no result significantly on the images of a check; null: not tried.",
    )
    note: str = Field(default="", description="Why torch runs the graphs although OpenVINO is faster.")
    torch: str = Field(description="Version of torch that wrote the programs (.pt2): other versions may not read them.")
    learned: Learned | None = Field(
        default=None, description="Calibration, prediction sets and familiarity, learned from labeled images."
    )
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        description="SHA-256 of each file beside this one."
    )

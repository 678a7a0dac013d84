"""What is stored beside the weights, so that they can be used without asking anybody."""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

__all__ = ["SCHEMA_VERSION", "SPARE", "Engine", "Head", "InputSpec", "Interpolation", "Manifest"]

SCHEMA_VERSION: Final = 2
_MAX_SIDE: Final = 4096
SPARE: Final = 2  # sides of a picture over those that it is resized to: with no less, no answer of 1,000 photos changed

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Engine = Literal["openvino", "torch"]
Head = Literal["closed_form", "autograd"]


class InputSpec(BaseModel):
    """How a picture becomes the network's input; stored with the model because it belongs to its training.

    The picture is resized, its centre is cropped, its values are scaled to [0, 1] and then become
    ``(value - mean) / std`` per channel (red, green, blue).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resize: int | tuple[int, int] = Field(
        description="Pixels of the shorter side (the aspect ratio stays), or (height, width) to stretch the picture to."
    )
    crop: tuple[int, int] = Field(description="(height, width) of the centre crop in pixels: the network's input size.")
    interpolation: Interpolation = Field(description="Resampling filter of the resize, always with antialiasing.")
    mean: tuple[float, float, float] = Field(description="Mean per channel, in units of [0, 1].")
    std: tuple[float, float, float] = Field(description="Standard deviation per channel, in units of [0, 1].")

    @property
    def enough(self) -> int:
        """Pixels that the sides of a picture need: of a larger one a smaller copy will do."""
        return SPARE * (self.resize if isinstance(self.resize, int) else max(self.resize))

    @model_validator(mode="after")
    def _check(self) -> Self:
        height, width = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        if min(self.crop) < 1:
            raise ValueError(f"crop must be at least 1 x 1 pixel, not {self.crop}")
        if height < self.crop[0] or width < self.crop[1]:
            raise ValueError(f"resize {self.resize} must not be smaller than crop {self.crop}")
        if max(height, width) > _MAX_SIDE:
            raise ValueError(f"resize {self.resize} must be at most {_MAX_SIDE} pixels a side")
        if min(self.std) <= 0:
            raise ValueError(f"every std must be above 0, not {self.std}")
        return self


class Manifest(BaseModel):
    """What a stored network is: enough to build it, feed it and name its answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = Field(default=SCHEMA_VERSION, description="Version of this layout.")
    architecture: str = Field(
        description="Library and name of the network, such as timm/tf_efficientnet_lite0, or module/<Class>."
    )
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict, description="What a class of the person's own (architecture module/<Class>) is made with."
    )
    labels: tuple[str, ...] = Field(min_length=1, description="Name of each class, by index.")
    input: InputSpec
    layer: str = Field(description="The Grad-CAM layer: where the network is split into backbone and head.")
    engine: Engine = Field(description="What runs the backbone on a CPU.")
    head: Head = Field(
        description="How the Grad-CAM weights come about: from the head's matrices, or backwards by torch."
    )
    note: str = Field(default="", description="Why torch runs the backbone although OpenVINO is faster.")
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        description="SHA-256 of each file beside this one."
    )

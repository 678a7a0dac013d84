"""The preprocessing of a network, which is stored with the model because it belongs to its training."""

from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:  # the process that supervises the workers reads manifests, but no pixels
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Resampling

__all__ = ["SPARE", "InputSpec", "Interpolation", "Margin"]

_MAX_SIDE: Final = 4096
SPARE: Final = 2  # least ratio of decoded to resized sides: with 2, none of 1,000 answers changed

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Margin = Literal["even", "down"]


class InputSpec(BaseModel):
    """The preprocessing of images for a network.

    The image is resized and center-cropped, and its values are scaled to [0, 1] and normalized to
    ``(value - mean) / std`` per channel: red, green and blue, or gray.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal[1, 3] = Field(default=3, description="3: red, green, blue; 1: gray, as Pillow's mode L.")
    resize: int | tuple[int, int] = Field(
        description="Pixels of the shorter side (the aspect ratio stays), or (height, width) to stretch the image to."
    )
    crop: tuple[int, int] = Field(description="(height, width) of the center crop in pixels: the network's input size.")
    interpolation: Interpolation = Field(description="Resampling filter of the resize, always with antialiasing.")
    mean: tuple[float, ...] = Field(description="Mean per channel, in units of [0, 1].")
    std: tuple[float, ...] = Field(description="Standard deviation per channel, in units of [0, 1].")
    margin: Margin = Field(
        default="even",
        description="How the margin of the crop is rounded: half to even (torchvision) or down (transformers).",
    )

    @property
    def enough(self) -> int:
        """Pixels per side that a decoded image needs: a larger image may be decoded at a reduced size."""
        return SPARE * (self.resize if isinstance(self.resize, int) else max(self.resize))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the network's input."""
        return (self.channels, *self.crop)

    @property
    def resampling(self) -> "Resampling":
        """Pillow's resampling filter for the resize."""
        from PIL.Image import Resampling  # noqa: PLC0415 - not needed to read a manifest

        return Resampling[self.interpolation.upper()]

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return (height, width) of a ``width`` x ``height`` image after the resize, the longer side rounded down."""
        if not isinstance(self.resize, int):
            return self.resize
        if width <= height:
            return int(self.resize * height / width), self.resize
        return self.resize, int(self.resize * width / height)

    def margin_of(self, resized: int, crop: int) -> int:
        """Return the pixels before the center crop of ``crop`` pixels, on a side of ``resized`` pixels."""
        return (resized - crop) // 2 if self.margin == "down" else round((resized - crop) / 2)

    def normalize(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """Return ``pixels`` (H, W, C) normalized for the network, (C, H, W), contiguous.

        Equal, bit for bit, to torchvision's ``ToTensor -> Normalize``.
        """
        import numpy as np  # noqa: PLC0415 - not needed to read a manifest

        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        normalized = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(normalized.transpose(2, 0, 1))

    @model_validator(mode="after")
    def _check(self) -> Self:
        height, width = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        if min(self.crop) < 1:
            raise ValueError(f"crop must be at least 1 x 1 pixel, not {self.crop}")
        if height < self.crop[0] or width < self.crop[1]:
            raise ValueError(f"resize {self.resize} must not be smaller than crop {self.crop}")
        if max(height, width) > _MAX_SIDE:
            raise ValueError(f"resize {self.resize} must be at most {_MAX_SIDE} pixels a side")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std must have {self.channels} numbers each, one per channel")
        if min(self.std) <= 0:
            raise ValueError(f"every std must be above 0, not {self.std}")
        return self

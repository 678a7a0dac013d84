"""The memory layout of the backbone's features, and their view as feature maps."""

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["FeatureLayout"]


_A = TypeVar("_A")  # a NumPy array or a PyTorch tensor: both have the methods used here


class FeatureLayout(BaseModel):
    """The memory layout of a network's features, (N, ...), and the shape of their maps, (N, K, h, w).

    ``axes`` is ``NKhw`` for convolutions, ``NhwK`` for channels last (Swin), and ``NTK`` for tokens (ViT): first
    ``placeless`` ones that have no place in the image, such as a class token, then h w ones, row by row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    axes: Literal["NKhw", "NhwK", "NTK"]
    channels: int = Field(ge=1, description="K")
    height: int = Field(ge=1, description="h, in positions")
    width: int = Field(ge=1, description="w, in positions")
    placeless: int = Field(default=0, ge=0, description="Leading tokens that have no place in the image.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, h, w) of the maps."""
        return self.channels, self.height, self.width

    def fold(self, features: _A) -> _A:
        """Return the maps (N, K, h, w) of ``features``, or of their gradient, as a view if possible."""
        maps: Any = features
        if self.axes == "NTK":
            maps = maps[:, self.placeless :].reshape(-1, self.height, self.width, self.channels)
        folded: _A = maps if self.axes == "NKhw" else maps.swapaxes(1, 3).swapaxes(2, 3)
        return folded

"""What the backbone hands on: features as the network has them, and the maps that they are."""

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["FeatureLayout"]


_A = TypeVar("_A")  # an array of numpy, or a tensor of torch: they have in common what is needed here


class FeatureLayout(BaseModel):
    """How the features of a network, (N, ...), lie in memory, and which maps (N, K, h, w) they are.

    ``axes`` is ``NKhw`` where convolutions made them, ``NhwK`` where the channels come last (Swin), and ``NTK`` for
    tokens (ViT): ``placeless`` ones without a place in the image, such as a class token, then h w ones, row by row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    axes: Literal["NKhw", "NhwK", "NTK"]
    channels: int = Field(ge=1, description="K")
    height: int = Field(ge=1, description="h, in positions")
    width: int = Field(ge=1, description="w, in positions")
    placeless: int = Field(default=0, ge=0, description="Tokens that have no place in the image; they come first.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, h, w) of the maps."""
        return self.channels, self.height, self.width

    def fold(self, features: _A) -> _A:
        """Return the maps (N, K, h, w) of ``features``, or of their gradient, as a view where that is possible."""
        maps: Any = features
        if self.axes == "NTK":
            maps = maps[:, self.placeless :].reshape(-1, self.height, self.width, self.channels)
        folded: _A = maps if self.axes == "NKhw" else maps.swapaxes(1, 3).swapaxes(2, 3)
        return folded

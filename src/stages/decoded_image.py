"""An image, and the part of it that the network sees."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

__all__ = ["Box", "Conversion", "DecodedImage"]

Conversion: TypeAlias = Callable[[Image.Image], Image.Image]
"""Converts an image from the colors of its profile to sRGB."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An upright image of ``width`` x ``height`` pixels.

    ``raster`` (RGB) shows all of it; a large JPEG file may have been decoded at half, a quarter or an eighth of that
    size. Its colors are those of the file: ``srgb`` converts it, or faster, a part that was cut and resized from it.
    """

    raster: Image.Image
    width: int
    height: int
    conversion: Conversion | None = None

    def srgb(self, part: Image.Image) -> Image.Image:
        """Return ``part``, a part of ``raster`` at any size, in sRGB; unchanged if it is sRGB already."""
        return part if self.conversion is None else self.conversion(part)

    @property
    def reduced(self) -> bool:
        """Whether it was decoded at less than its full size."""
        return self.raster.size != (self.width, self.height)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in continuous pixel coordinates: pixel ``i`` covers ``[i, i + 1)``; ``x0 < x1`` and ``y0 < y1``."""

    x0: float
    y0: float
    x1: float
    y1: float

    def within(self, other: "Box") -> "Box":
        """Return its part inside ``other``: rounding may have moved it beyond an edge."""
        left, top = max(self.x0, other.x0), max(self.y0, other.y0)
        return Box(left, top, min(self.x1, other.x1), min(self.y1, other.y1))

    def scaled(self, x: float, y: float) -> "Box":
        """Return the same rectangle after stretching the image by the factors ``x`` and ``y``."""
        return Box(self.x0 * x, self.y0 * y, self.x1 * x, self.y1 * y)

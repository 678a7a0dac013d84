"""A picture, and the part of it that the network sees."""

from dataclasses import dataclass

from PIL import Image

__all__ = ["Box", "Picture"]


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright picture of ``width`` x ``height`` pixels.

    ``image`` (RGB) shows it whole; of a large JPEG file it may have been decoded at half, a quarter or an eighth of
    that size.
    """

    image: Image.Image
    width: int
    height: int

    @property
    def reduced(self) -> bool:
        """Whether it was decoded at less than its size."""
        return self.image.size != (self.width, self.height)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in continuous pixel coordinates: pixel ``i`` covers ``[i, i + 1)``; ``x0 < x1`` and ``y0 < y1``."""

    x0: float
    y0: float
    x1: float
    y1: float

    def scaled(self, x: float, y: float) -> "Box":
        """Return the same rectangle after the picture was stretched by the factors ``x`` and ``y``."""
        return Box(self.x0 * x, self.y0 * y, self.x1 * x, self.y1 * y)

"""The part of a picture that the network sees."""

from dataclasses import dataclass

__all__ = ["Box"]


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

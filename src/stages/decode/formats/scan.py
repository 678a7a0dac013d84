"""The result of scanning the container of a file."""

from dataclasses import dataclass

from src.errors import UnsupportedImage

__all__ = ["Canvas", "Scan", "unsupported"]


@dataclass(frozen=True, slots=True)
class Canvas:
    """The canvas of an animation, and the position of its first frame's upper left corner on it, in pixels."""

    width: int
    height: int
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class Scan:
    """The input of the decoder: the file, repaired or reduced to its first image.

    ``held`` is the number of bytes per announced pixel that the decoder holds in addition to the decoded image.
    ``canvas`` is None if the image covers all of it. ``colors`` are the H.273 codes of its primaries and transfer, if
    the container has them and they take precedence over a profile. ``scalable`` says whether a JPEG file can be decoded
    at a reduced size.
    """

    data: bytes
    held: float = 0.0
    canvas: Canvas | None = None
    colors: tuple[int, int] | None = None
    scalable: bool = True


def unsupported(kind: str, instead: str) -> UnsupportedImage:
    """Return the error for an intact file of a ``kind`` that is not decoded; ``instead`` is what to send."""
    return UnsupportedImage(f"The image is {kind}, which is not supported: send {instead}.")

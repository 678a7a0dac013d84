"""What reading the container of a file finds."""

from dataclasses import dataclass

from src.errors import UnsupportedImage

__all__ = ["Canvas", "Scan", "unsupported"]


@dataclass(frozen=True, slots=True)
class Canvas:
    """The area of an animation, in pixels, and where the upper left corner of its first frame lies on it."""

    width: int
    height: int
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What the decoder is to be given: the file, mended or cut to its first image.

    ``held`` is how many bytes per announced pixel the decoder holds beside the decoded image. ``canvas`` is None
    where the image covers all of it. ``colors`` are its primaries and transfer, as H.273 numbers them, where the
    container has them and they come before a profile. ``scalable`` says whether a JPEG file can be decoded at a part of
    its size.
    """

    data: bytes
    held: float = 0.0
    canvas: Canvas | None = None
    colors: tuple[int, int] | None = None
    scalable: bool = True


def unsupported(kind: str, instead: str) -> UnsupportedImage:
    """Return the refusal of a file that is intact, but of a ``kind`` that is not decoded."""
    return UnsupportedImage(f"The image is {kind}, which is not supported: send {instead}.")

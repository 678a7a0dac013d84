"""Limits on the size of images, checked by their headers before anything is decoded."""

from dataclasses import dataclass
from math import prod
from typing import Final

from PIL import Image
from PIL.ExifTags import Base as Tag

from src.errors import ImageTooLarge

__all__ = ["LARGE", "DecodeLimits", "Enough", "check_memory", "check_size", "reduce", "with_tiles"]

LARGE: Final = 16_000_000  # pixels; converting more at once would hold too much memory
_BYTES_OF_RGB: Final = 4  # Pillow pads them
_BYTES_PER_PIXEL: Final = 7  # of a decoded image, and of the three bands that it becomes


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """The maximum size of an image: ``pixels`` in total, ``side`` in pixels."""

    pixels: int = 64_000_000
    side: int = 20_000


@dataclass(frozen=True, slots=True)
class Enough:
    """The minimum sides of a decoded image in pixels, if the file has more."""

    shorter: int
    longer: int


def check_size(width: int, height: int, limits: DecodeLimits) -> None:
    """Refuse an image that is larger than ``limits`` allow."""
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels: at most {limits.pixels} pixels in total"
            f" and {limits.side} per side are accepted, so send a smaller copy."
        )


def check_memory(image: Image.Image, announced: tuple[int, int], held: float, limits: DecodeLimits) -> None:
    """Refuse an image whose decoder would hold too many bytes, ``held`` per ``announced`` pixel."""
    most = _BYTES_PER_PIXEL * max(limits.pixels, LARGE)
    if held * prod(announced) + _BYTES_OF_RGB * prod(image.size) > most:
        raise ImageTooLarge(
            f"The image has {announced[0]} x {announced[1]} pixels: a {image.format} file of this kind may have at most"
            f" {most / (held + _BYTES_OF_RGB):.0f}, so send a smaller copy, or a baseline JPEG file."
        )


def with_tiles(image: Image.Image) -> tuple[int, int]:
    """Return the larger of the size of ``image`` and of its tiles: TIFF tiles are always decoded whole."""
    tags = image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]
    return max(image.width, tags.get(Tag.TileWidth, 0)), max(image.height, tags.get(Tag.TileLength, 0))


def reduce(image: Image.Image, enough: Enough) -> bool:
    """Let a JPEG be decoded at half, a quarter or an eighth of its size if that is ``enough``; return whether it is."""
    announced = image.size
    scale = min(min(announced) // enough.shorter, max(announced) // enough.longer)
    if scale > 1:  # no effect on other formats
        image.draft(image.mode, (image.width // scale, image.height // scale))
    return image.size != announced

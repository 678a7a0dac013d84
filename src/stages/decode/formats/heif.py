"""HEIF: a still image, or a video."""

import re
from typing import Final

from src.stages.decode.damage import check_coded
from src.stages.decode.formats.avif import colors, pieces
from src.stages.decode.formats.scan import Scan, unsupported

__all__ = ["scan"]

_FILM: Final = re.compile(rb".{4}ftyp(?:hev[cxms]|msf1)", re.DOTALL)
_STILL: Final = b"meta"  # the box that locates the images
_LENGTH_BYTES: Final = 4
_MOST_UNITS: Final = 200  # slices of an image
_HELD: Final = 5.0  # planes and the frame; libheif refuses what is larger than announced, and more than 1,000 parts


def scan(data: bytes) -> Scan:
    """Return ``data``; the decoder holds the planes and the frame.

    Raises:
        ValueError: There are more boxes or items than any encoder writes, or pixels are missing.
        UnsupportedImage: The file has a video and no still image.
    """
    if _FILM.match(data) and _STILL not in data:
        raise unsupported("a video (HEVC in an ISO container)", "a still image of it")
    check_coded(data, ((start, end) for start, end in pieces(data) if _is_coded(data, start, end)))
    return Scan(data, _HELD, colors=colors(data))


def _is_coded(data: bytes, start: int, end: int) -> bool:
    """Return whether ``data[start:end]`` are HEVC's units, each with its length before it, and not metadata."""
    for _ in range(_MOST_UNITS):
        start += _LENGTH_BYTES + int.from_bytes(data[start : start + _LENGTH_BYTES], "big")
        if start >= end:
            return start == end
    return False

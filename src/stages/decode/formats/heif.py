"""HEIF: a still image, or a video."""

import re
from typing import Final

from src.stages.decode.formats.avif import colors
from src.stages.decode.formats.scan import Scan, unsupported

__all__ = ["scan"]

_FILM: Final = re.compile(rb".{4}ftyp(?:hev[cxms]|msf1)", re.DOTALL)
_STILL: Final = b"meta"  # the box that locates the images
_HELD: Final = 5.0  # planes and the frame; libheif refuses what is larger than announced, and more than 1,000 parts


def scan(data: bytes) -> Scan:
    """Return ``data``; the decoder holds the planes and the frame.

    Raises:
        ValueError: There are more boxes than any encoder writes.
        UnsupportedImage: The file has a video and no still image.
    """
    if _FILM.match(data) and _STILL not in data:
        raise unsupported("a video (HEVC in an ISO container)", "a still image of it")
    return Scan(data, _HELD, colors=colors(data))

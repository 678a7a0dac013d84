"""GIF: the blocks before the first image, and its position on the canvas."""

import re
import struct
from typing import Final

from src.stages.decode.formats.scan import Canvas, Scan

__all__ = ["scan"]

_FLAGS: Final = 10  # their offset in the file
_HEADER_BYTES: Final = 13
_BLOCK: Final = re.compile(rb"[!,;]")
_EXTENSION: Final = b"!"
_IMAGE: Final = b","
_AREA: Final = struct.Struct("<HHHH")  # of an image: left, top, width, height
_CANVAS: Final = struct.Struct("<HH")  # width, height
_CANVAS_AT: Final = 6
_HELD: Final = 4.0  # the canvas beside the image
_MOST_JUNK: Final = 65_536  # bytes between two blocks; Pillow skips them one by one
_MOST_BLOCKS: Final = 100_000  # of up to 255 bytes: comments and metadata of up to 25 MB


def scan(data: bytes) -> Scan:
    """Return ``data``, or only its first image if that does not cover the canvas.

    Raises:
        ValueError: There are more blocks, or more junk, before the first image than any encoder writes.
    """
    flags = data[_FLAGS] if len(data) > _FLAGS else 0
    position = _HEADER_BYTES + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    extension = False
    for _ in range(_MOST_BLOCKS):
        if extension:
            length = data[position] if position < len(data) else 0
            position, extension = position + 1 + length, length > 0
            continue
        match = _BLOCK.search(data, position, position + _MOST_JUNK)
        if match is None:
            raise ValueError("there is no image where one must be")
        if match[0] != _EXTENSION:
            return _first_image(data, match.start())
        position, extension = match.end() + 1, True
    raise ValueError(f"it has more than {_MOST_BLOCKS} blocks before its image")


def _first_image(data: bytes, at: int) -> Scan:
    """Return ``data`` with a canvas no larger than its first image, which begins at ``at``."""
    if data[at : at + 1] != _IMAGE or len(data) < at + 1 + _AREA.size:
        return Scan(data)
    left, top, width, height = _AREA.unpack_from(data, at + 1)
    across, down = _CANVAS.unpack_from(data, _CANVAS_AT)
    if (left, top) == (0, 0) and width >= across and height >= down:
        return Scan(data)
    alone = bytearray(data)
    _CANVAS.pack_into(alone, _CANVAS_AT, width, height)
    _AREA.pack_into(alone, at + 1, 0, 0, width, height)
    return Scan(bytes(alone), _HELD, Canvas(max(across, left + width), max(down, top + height), left, top))

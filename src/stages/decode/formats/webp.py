"""WebP: animations, whose first frame need not cover the canvas."""

from typing import Final

from src.stages.decode.formats.scan import Scan

__all__ = ["scan"]

_EXTENDED: Final = slice(12, 16)
_FLAGS: Final = 20  # their offset in an extended file
_ANIMATED: Final = 0x02
_OPACITY: Final = 0x10
_HELD: Final = 12.0  # two canvases and the frame, 4 bytes each; libwebp bounds the rest by the canvas


def scan(data: bytes) -> Scan:
    """Return ``data``; mark an animation as having alpha, because libwebp would paint its empty canvas black."""
    flags = data[_FLAGS] if data[_EXTENDED] == b"VP8X" and len(data) > _FLAGS else 0
    if flags & _ANIMATED and not flags & _OPACITY:
        data = data[:_FLAGS] + bytes([flags | _OPACITY]) + data[_FLAGS + 1 :]
    return Scan(data, _HELD)

"""WebP: animations, whose first frame need not cover the canvas, and files cut behind their pixels."""

from collections.abc import Iterator
from typing import Final

from src.stages.decode.damage import check_continued
from src.stages.decode.formats.scan import Scan

__all__ = ["scan"]

_EXTENDED: Final = slice(12, 16)
_FLAGS: Final = 20  # their offset in an extended file
_ANIMATED: Final = 0x02
_OPACITY: Final = 0x10
_FIRST_CHUNK: Final = 12
_HEAD_BYTES: Final = 8  # of the file and of a chunk: kind and size
_PIXELS: Final = frozenset({b"VP8 ", b"VP8L", b"ALPH", b"ANMF"})
_LOSSY: Final = b"VP8 "
_MOST_CHUNKS: Final = 100
_MOST_MISSING: Final = 65_536  # bytes
_HELD: Final = 12.0  # two canvases and the frame, 4 bytes each; libwebp bounds the rest by the canvas


def scan(data: bytes) -> Scan:
    """Return ``data``; mark an animation as having alpha, because libwebp would paint its empty canvas black.

    Zeros replace what is missing at the end, unless it is pixels: browsers show such an image, too.

    Raises:
        ValueError: The file begins again in the middle of its pixels.
    """
    missing = _HEAD_BYTES + _size(data, 0) - len(data)
    if 0 < missing <= _MOST_MISSING and not _lacks_pixels(data):
        data += bytes(missing)
    for kind, start, end in _chunks(data):
        if kind == _LOSSY:
            check_continued(data, start, end)
    flags = data[_FLAGS] if data[_EXTENDED] == b"VP8X" and len(data) > _FLAGS else 0
    if flags & _ANIMATED and not flags & _OPACITY:
        data = data[:_FLAGS] + bytes([flags | _OPACITY]) + data[_FLAGS + 1 :]
    return Scan(data, _HELD)


def _lacks_pixels(data: bytes) -> bool:
    return next((kind in _PIXELS for kind, _, end in _chunks(data) if end > len(data)), True)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where its contents begin and end."""
    position = _FIRST_CHUNK
    for _ in range(_MOST_CHUNKS):
        start = position + _HEAD_BYTES
        end = start + _size(data, position)
        yield data[position : position + 4], start, end
        position = end + end % 2


def _size(data: bytes, at: int) -> int:
    return int.from_bytes(data[at + 4 : at + 8], "little")

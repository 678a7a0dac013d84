"""JPEG: the segments before the pixels, and how many scans they come in."""

import re
import struct
from typing import Final

from src.stages.decode.formats.scan import Scan

__all__ = ["scan"]

_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
_SEGMENT: Final = struct.Struct(">BBH")  # 0xff, marker, length from here on
_SCAN: Final = 0xDA
_QUANTIZATION: Final = 0xDB
_EXIF: Final = 0xE1
_FRAMES: Final = frozenset({*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_SEQUENTIAL: Final = frozenset({0xC0, 0xC1, 0xC3, 0xC9, 0xCB})
_WITHOUT_LENGTH: Final = frozenset({0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_MOST_SEGMENTS: Final = 2_000  # extended XMP and profiles come in pieces of 64 kB: 20 MB are 306
_MOST_JUNK: Final = 65_536  # bytes between two segments; Pillow skips them one by one
_MOST_TABLES: Final = 64  # segments of quantization tables
_MOST_EXIF: Final = 16  # segments of EXIF, which Pillow joins
# A scan of several touches every pixel again: 64 megapixels 20 times take 0.7 s. Encoders make 10 scans.
_MOST_SCANNED: Final = 20 * 64_000_000
_LEAST_SCANNED: Final = 2_500_000  # a scan of a small picture has its costs too
_BYTES_PER_COEFFICIENT: Final = 2


def scan(data: bytes) -> Scan:
    """Return ``data``, of which the decoder holds the coefficients, where there are several scans.

    Raises:
        ValueError: The file has more segments, tables, pieces of EXIF, junk or scans than any encoder writes.
    """
    frame, tables, exif, position = 0, 0, 0, 2
    for _ in range(_MOST_SEGMENTS):
        position = _next_marker(data, position)
        _, marker, length = _SEGMENT.unpack_from(data, position)
        if marker == _SCAN:
            return Scan(data, _scans(data, frame, position))
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        if marker in _FRAMES:
            frame = position
        elif marker == _QUANTIZATION:
            tables += 1
        elif marker == _EXIF and data.startswith(b"Exif", position + 4):
            exif += 1
        if tables > _MOST_TABLES or exif > _MOST_EXIF:
            raise ValueError("it repeats its tables or its EXIF block too often")
        position += max(length, 2) + 2
    raise ValueError(f"it has more than {_MOST_SEGMENTS} segments before its pixels")


def _next_marker(data: bytes, position: int) -> int:
    """Return where the next marker is: at ``position``, but for junk and bytes of filling."""
    match = _MARKER.match(data, position) or _MARKER.search(data, position, position + _MOST_JUNK)
    if match is None or match.end() + 2 > len(data):
        raise ValueError("there is no marker where one must be")
    return match.start()


def _scans(data: bytes, frame: int, scan: int) -> float:
    """Count the scans of the frame whose header is at ``frame``, unless the one at ``scan`` is all that is decoded."""
    components, first = data[frame + 9 : frame + 10], data[scan + 4 : scan + 5]
    if not frame or (data[frame + 1] in _SEQUENTIAL and components == first):
        return 0.0
    _, _, length = _SEGMENT.unpack_from(data, frame)
    pixels = int.from_bytes(data[frame + 5 : frame + 7], "big") * int.from_bytes(data[frame + 7 : frame + 9], "big")
    scans = data.count(b"\xff\xda", scan)  # at most too many: within a scan 0xff is followed by 0
    if scans * max(pixels, _LEAST_SCANNED) > _MOST_SCANNED:
        raise ValueError(f"its pixels come in {scans} scans")
    factors = [(factor >> 4, factor & 15) for factor in data[frame + 11 : frame + 2 + length : 3]]
    whole = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
    return _BYTES_PER_COEFFICIENT * sum(across * down for across, down in factors) / max(whole, 1)

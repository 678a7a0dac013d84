"""JPEG: the segments before the pixels, and how many scans they come in."""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["check"]

_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
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


@dataclass(frozen=True, slots=True)
class _Frame:
    """``pixels`` in all, ``samples`` values for each, of ``components``."""

    pixels: int
    samples: float
    components: int
    sequential: bool


def check(data: bytes) -> float:
    """Return the bytes per pixel that the decoder holds: its coefficients, where there are several scans.

    Raises:
        ValueError: The file has more segments, tables, pieces of EXIF, junk or scans than any encoder writes.
    """
    frame, tables, exif, position = None, 0, 0, 2
    for _ in range(_MOST_SEGMENTS):
        match = _MARKER.search(data, position, position + _MOST_JUNK)
        if match is None:
            raise ValueError("there is no marker where one must be")
        position = match.end()
        marker = data[position - 1]
        if marker == _SCAN:
            return _scans(frame, data, position)
        if marker in _WITHOUT_LENGTH:
            continue
        length = max(2, int.from_bytes(data[position : position + 2], "big"))
        if marker in _FRAMES:
            frame = _frame(marker, data[position : position + length])
        tables += marker == _QUANTIZATION
        exif += marker == _EXIF and data.startswith(b"Exif", position + 2)
        if tables > _MOST_TABLES or exif > _MOST_EXIF:
            raise ValueError("it repeats its tables or its EXIF block too often")
        position += length
    raise ValueError(f"it has more than {_MOST_SEGMENTS} segments before its pixels")


def _frame(marker: int, segment: bytes) -> _Frame:
    factors = [(factor >> 4, factor & 15) for factor in segment[9::3]]
    whole = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
    return _Frame(
        pixels=int.from_bytes(segment[3:5], "big") * int.from_bytes(segment[5:7], "big"),
        samples=sum(across * down for across, down in factors) / max(whole, 1),
        components=len(factors),
        sequential=marker in _SEQUENTIAL,
    )


def _scans(frame: _Frame | None, data: bytes, position: int) -> float:
    """Count the scans of ``frame``, the first of which is at ``position``, unless one is all that is decoded."""
    if frame is None or (frame.sequential and data[position + 2 : position + 3] == bytes([frame.components])):
        return 0.0
    scans = data.count(b"\xff\xda", position - 2)  # at most too many: within a scan 0xff is followed by 0
    if scans * max(frame.pixels, _LEAST_SCANNED) > _MOST_SCANNED:
        raise ValueError(f"its pixels come in {scans} scans")
    return _BYTES_PER_COEFFICIENT * frame.samples

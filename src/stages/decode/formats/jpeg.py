"""JPEG: the segments before the pixels, the kind of coding, and the number of scans."""

import re
import struct
from collections.abc import Iterator
from typing import Final

from src.errors import UnsupportedImage
from src.stages.decode.formats.scan import Scan, unsupported

__all__ = ["SCAN", "has_all_scans", "offset_of", "scan", "segments"]

_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
_SEGMENT_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd9\xff]")  # of one with a length
_SEGMENT: Final = struct.Struct(">BBH")  # 0xff, marker, length from here on
SCAN: Final = 0xDA
_QUANTIZATION: Final = 0xDB
_EXIF: Final = 0xE1
_PHOTOSHOP: Final = 0xED
_FIELDS: Final = {0xE0: (b"JFIF", 14), 0xE2: (b"ICC_PROFILE\0", 14), 0xEE: (b"Adobe", 12)}  # and bytes in total
_FRAMES: Final = frozenset({*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_SEQUENTIAL: Final = frozenset({0xC0, 0xC1, 0xC3, 0xC9, 0xCB})
_WITHOUT_LENGTH: Final = frozenset({0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xF7), *range(0xF8, 0xFE)})
_OTHER_CODINGS: Final = {
    0xC5: "hierarchical",
    0xC6: "hierarchical progressive",
    0xC7: "hierarchical lossless",
    0xCB: "lossless arithmetic-coded",
    0xCD: "hierarchical arithmetic-coded",
    0xCE: "hierarchical progressive arithmetic-coded",
    0xCF: "hierarchical lossless arithmetic-coded",
    0xF7: "lossless (JPEG-LS)",
}
_LOSSLESS: Final = 0xC3
_BITS: Final = 8
_COMPONENTS: Final = (1, 3, 4)
_LATE_HEIGHT: Final = b"\xff\xdc\x00\x04"
_COEFFICIENTS: Final = 64
_MOST_SEGMENTS: Final = 2_000  # extended XMP and profiles are split into pieces of 64 kB: 20 MB are 306
_MOST_JUNK: Final = 65_536  # bytes between two segments; Pillow skips them one by one
_MOST_TABLES: Final = 64  # segments of quantization tables
_MOST_EXIF: Final = 16  # segments of EXIF, which Pillow joins
# Every scan visits all pixels again: 20 scans of 64 megapixels take 0.7 s. Encoders write 10 scans.
_MOST_SCANNED: Final = 20 * 64_000_000
_LEAST_SCANNED: Final = 2_500_000  # the overhead of a scan, in pixels
_BYTES_PER_COEFFICIENT: Final = 2


def scan(data: bytes) -> Scan:
    """Return ``data`` without junk between its segments, and without metadata on which Pillow fails.

    The decoder holds the coefficients of several scans.

    Raises:
        ValueError: The file has more segments, tables, pieces of EXIF, junk or scans than any encoder writes.
        UnsupportedImage: Its pixels are coded in a way that is not decoded.
    """
    frame, tables, exif, expected, position, begins = 0, 0, 0, 2, 2, 0
    kept: list[bytes] = []
    for _ in range(_MOST_SEGMENTS):
        position = _next_marker(data, position)
        if data[expected:position].strip(b"\xff"):  # only fill bytes are allowed there
            kept, begins = [*kept, data[begins:expected]], position
        _, marker, length = _SEGMENT.unpack_from(data, position)
        if marker == SCAN:
            whole = b"".join((*kept, data[begins:])) if kept else data
            lossless = data[frame + 1] == _LOSSLESS  # simplejpeg would write past the end of a smaller image
            return Scan(whole, _scans(data, frame, position), scalable=not lossless)
        if marker in _OTHER_CODINGS or (marker in _FRAMES and data[position + 4] != _BITS):
            raise _not_decoded(data, marker, position)
        if marker in _WITHOUT_LENGTH:
            expected = position = position + 2
            continue
        if marker in _FRAMES:
            frame = position
            _check_frame(data, frame)
        elif marker == _QUANTIZATION:
            tables += 1
        elif marker == _EXIF and data.startswith(b"Exif", position + 4):
            exif += 1
        if tables > _MOST_TABLES or exif > _MOST_EXIF:
            raise ValueError("it repeats its tables or its EXIF block too often")
        end = position + max(length, 2) + 2
        expected = position if _is_spoiled(data, marker, position + 4, end) else end  # what is spoiled is junk
        position = end
    raise ValueError(f"it has more than {_MOST_SEGMENTS} segments before its pixels")


def has_all_scans(data: bytes) -> bool:
    """Return whether the scans of ``data`` have every coefficient of every component, with all of its bits.

    A file that lacks only its end marker does; a progressive one may also have been cut between two scans.
    """
    frame, missing = 0, dict[int, set[int]]()
    for at, marker, length in segments(data):
        if marker in _FRAMES:
            frame = marker
            components = data[at + 10 : at + 10 + 3 * data[at + 9] : 3]
            missing = {component: set(range(_COEFFICIENTS)) for component in components}
        elif marker == SCAN:
            chosen = data[at + 5 : at + 5 + 2 * data[at + 4] : 2]
            first, last, bits = data[at + 2 + length - 3 : at + 2 + length]
            for component in chosen if frame in _SEQUENTIAL or not bits & 15 else ():
                whole = set(range(_COEFFICIENTS)) if frame in _SEQUENTIAL else set(range(first, last + 1))
                missing[component] -= whole
    return bool(missing) and not any(missing.values())


def offset_of(data: bytes, kind: int) -> int:
    """Return the offset of the first segment with the marker ``kind``, not of one in a thumbnail; 0 without one."""
    return next((at for at, marker, _ in segments(data) if marker == kind), 0)


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the offset, the marker and the length of each segment that has a length, up to a limit."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        match = _SEGMENT_MARKER.search(data, at)
        if match is None or match.end() + 2 > len(data):
            return
        _, marker, length = _SEGMENT.unpack_from(data, match.start())
        yield match.start(), marker, length
        at = match.end() + length


def _is_spoiled(data: bytes, marker: int, start: int, end: int) -> bool:
    """Return whether the segment with the contents ``data[start:end]`` is metadata too short for its fields.

    Photoshop's always counts as such: Pillow reads its resources, which nothing here needs, without a check.
    """
    name, least = _FIELDS.get(marker, (b"", 0))
    return marker == _PHOTOSHOP or (end - start < least and data.startswith(name, start))


def _check_frame(data: bytes, frame: int) -> None:
    instead = "a JPEG file of 1, 3 or 4 components that begins with its size"
    if data[frame + 5 : frame + 7] == b"\0\0" and _LATE_HEIGHT in data:
        raise unsupported("a JPEG file that stores its height after its pixels", instead)
    if (components := data[frame + 9]) not in _COMPONENTS:
        raise unsupported(f"a JPEG file of {components} components", instead)


def _not_decoded(data: bytes, marker: int, position: int) -> UnsupportedImage:
    bits = data[position + 4]
    coding = _OTHER_CODINGS.get(marker, f"{bits}-bit" + " lossless" * (marker == _LOSSLESS))
    return unsupported(f"a {coding} JPEG file", "a baseline or progressive JPEG file of 8 bits per sample")


def _next_marker(data: bytes, position: int) -> int:
    """Return the offset of the next marker: ``position``, except for junk and fill bytes before it."""
    match = _MARKER.match(data, position) or _MARKER.search(data, position, position + _MOST_JUNK)
    if match is None or match.end() + 2 > len(data):
        raise ValueError("there is no marker where one must be")
    return match.start()


def _scans(data: bytes, frame: int, scan: int) -> float:
    """Count the scans of the frame whose header is at ``frame``, unless only the one at ``scan`` is decoded."""
    components, first = data[frame + 9 : frame + 10], data[scan + 4 : scan + 5]
    if not frame or (data[frame + 1] in _SEQUENTIAL and components == first):
        return 0.0
    _, _, length = _SEGMENT.unpack_from(data, frame)
    pixels = int.from_bytes(data[frame + 5 : frame + 7], "big") * int.from_bytes(data[frame + 7 : frame + 9], "big")
    scans = data.count(b"\xff\xda", scan)  # at most too many: within a scan 0xff is followed by 0
    if scans * max(pixels, _LEAST_SCANNED) > _MOST_SCANNED:
        raise ValueError(f"its pixels are split into {scans} scans")
    factors = [(factor >> 4, factor & 15) for factor in data[frame + 11 : frame + 2 + length : 3]]
    whole = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
    return _BYTES_PER_COEFFICIENT * sum(across * down for across, down in factors) / max(whole, 1)

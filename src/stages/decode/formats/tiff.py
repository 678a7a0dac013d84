"""TIFF: the entries of its directories, and the strips or tiles of its first picture."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["check"]

_BIG: Final = 43
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE: Final = {1: "B", 3: "H", 4: "I", 16: "Q"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _ORIENTATION, _SAMPLES = 256, 257, 258, 259, 274, 277
_ROWS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT = 278, 284, 322, 323
_OFFSETS: Final = (273, 324)
_COUNTS: Final = (279, 325)
_DIRECTORIES: Final = (34_665, 34_853, 40_965)  # EXIF, GPS, Interoperability
_UNCOMPRESSED: Final = 1
_JPEG: Final = (6, 7)
_MOST_ENTRIES: Final = 4_096
_MOST_VALUES: Final = 200_000  # of an entry that is not text or bytes: three curves of 65,536 fit
_MOST_PIECES: Final = 65_536  # strips or tiles; Pillow takes 10 microseconds for each
_MOST_SCANNED: Final = 20 * 64_000_000  # as in a JPEG file
_RGBA: Final = 4


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    at: int


def check(data: bytes) -> float:
    """Return the bytes per pixel that the decoder holds: the largest strip or tile, or the picture before it is turned.

    Raises:
        ValueError: There are more entries, values, strips or tiles than any writer makes, or they overlap.
    """
    order = ">" if data.startswith(b"MM") else "<"
    big = data[2 if order == "<" else 3] == _BIG
    first = _number(data, order, 8 if big else 4, 8 if big else 4)
    directory = _directory(data, order, first, big=big)
    for tag in _DIRECTORIES:
        for offset in _values(data, order, directory.get(tag)):
            _directory(data, order, offset, big=big)
    return _largest_piece(data, order, directory)


def _directory(data: bytes, order: str, offset: int, *, big: bool) -> dict[int, _Entry]:
    """Return the entries of the directory at ``offset`` by their tags; the first counts, as for Pillow."""
    number = _number(data, order, offset, 8 if big else 2)
    if number > _MOST_ENTRIES:
        raise ValueError(f"a directory has more than {_MOST_ENTRIES} entries")
    entries: dict[int, _Entry] = {}
    for tag, entry in _entries(data, order, offset + (8 if big else 2), number, big=big):
        if entry.count > (_MOST_PIECES if tag in _OFFSETS + _COUNTS else _MOST_VALUES) and _BYTES[entry.kind] > 1:
            raise ValueError(f"the tag {tag} has {entry.count} values")
        entries.setdefault(tag, entry)
    return entries


def _entries(data: bytes, order: str, start: int, number: int, *, big: bool) -> Iterator[tuple[int, _Entry]]:
    size, form, inline = (20, "HHQ", 8) if big else (12, "HHI", 4)
    for at in range(start, min(start + number * size, len(data) - size + 1), size):
        tag, kind, count = struct.unpack_from(order + form, data, at)
        if kind in _BYTES:
            value = at + size - inline
            outside = count * _BYTES[kind] > inline
            yield tag, _Entry(kind, count, _number(data, order, value, inline) if outside else value)


def _largest_piece(data: bytes, order: str, directory: dict[int, _Entry]) -> float:
    def first(tag: int, default: int) -> int:
        return next(iter(_values(data, order, directory.get(tag))), default)

    pixels = max(first(_WIDTH, 1) * first(_HEIGHT, 1), 1)
    turned = _RGBA if first(_ORIENTATION, 1) != 1 else 0
    compression = first(_COMPRESSION, _UNCOMPRESSED)
    if compression == _UNCOMPRESSED:
        return turned
    if max(sum(_values(data, order, directory.get(tag))) for tag in _COUNTS) > 2 * len(data):
        raise ValueError("its strips or tiles overlap")
    tile = first(_TILE_WIDTH, 0) * first(_TILE_HEIGHT, 0)
    piece = tile or first(_WIDTH, 1) * min(first(_ROWS, first(_HEIGHT, 1)), first(_HEIGHT, 1))
    if compression in _JPEG and data.count(b"\xff\xda") * piece > _MOST_SCANNED:
        raise ValueError("its pixels come in too many scans")
    bits = _values(data, order, directory.get(_BITS)) or (1,)
    samples = 1 if first(_PLANAR, 1) != 1 else first(_SAMPLES, len(bits))
    held = max(_RGBA if samples > 1 else 0, samples * max(bits) / 8)
    return max(turned, piece * held / pixels)


def _values(data: bytes, order: str, entry: _Entry | None) -> tuple[int, ...]:
    """Return the whole numbers of ``entry``; none if it has others, or lies outside of the file."""
    if entry is None or entry.kind not in _WHOLE or len(data) < entry.at + entry.count * _BYTES[entry.kind]:
        return ()
    return struct.unpack_from(f"{order}{entry.count}{_WHOLE[entry.kind]}", data, entry.at)


def _number(data: bytes, order: str, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big" if order == ">" else "little")

"""AVIF: the actual size of the coded images, whatever the file announces.

libavif decodes an AV1 image whose size differs from the announced one, up to 268 megapixels, and then scales it; it
decodes any number of tiles.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from src.stages.decode.damage import check_coded
from src.stages.decode.formats.scan import Scan

__all__ = ["boxes", "colors", "pieces", "scan"]

_PARENTS: Final = frozenset({b"meta", b"moov", b"trak", b"mdia", b"minf", b"stbl", b"iprp", b"ipco"})
_HEAD_BYTES: Final = 8  # size and kind
_VERSION_BYTES: Final = 4  # version and flags of a full box
_MOST_BOXES: Final = 20_000  # 1,000 tiles, each with a few properties
_MOST_ITEMS: Final = 1_000  # as in libheif; 64 megapixels are 976 tiles of 256 x 256 pixels
_MOST_OBUS: Final = 16  # before the sequence header, which comes first or second
_SEQUENCE_HEADER: Final = 1
_SEQUENCE_BYTES: Final = 256  # more than it can have
_FIRST_BYTES: Final = 4_096  # of a stream, enough for its sequence header
_FIRST_LEVEL_WITH_TIER: Final = 8
# The image, its opacity, a gain map and thumbnails.
_MOST_CODED: Final = 3.5
_SPARE_PIXELS: Final = 2_000_000
# Two planes of 16 bits for chroma, one each for luma and opacity, and the frame before Pillow copies it.
_HELD: Final = 12.0


def scan(data: bytes) -> Scan:
    """Return ``data``; the decoder holds the planes and the frame.

    Raises:
        ValueError: The file is damaged, has more parts than any encoder writes, or more pixels than it announces.
    """
    announced, coded = 0, 0
    for kind, box in boxes(memoryview(data)):
        if kind == b"ispe":
            announced = max(announced, _number(box, 4, 4) * _number(box, 8, 4))
        if kind == b"tkhd":
            announced = max(announced, _number(box, len(box) - 8, 2) * _number(box, len(box) - 4, 2))
    images = []
    for start, end in pieces(data):
        if pixels := _coded_pixels(data[start : start + _FIRST_BYTES]):
            images.append((start, end))
            coded += pixels
    check_coded(data, images)
    if coded > _MOST_CODED * announced + _SPARE_PIXELS:
        raise ValueError("its coded images are larger than it announces")
    return Scan(data, _HELD, colors=colors(data))


def colors(data: bytes) -> tuple[int, int] | None:
    """Return the codes of the primaries and the transfer; None if the file has a profile."""
    named = [bytes(box[:8]) for kind, box in boxes(memoryview(data)) if kind == b"colr"]
    if any(box[:4] in {b"prof", b"rICC"} for box in named):
        return None
    numbers = next((memoryview(box) for box in named if box[:4] == b"nclx"), None)
    return None if numbers is None else (_number(numbers, 4, 2), _number(numbers, 6, 2))


def boxes(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and content of every box in ``view``, including nested ones."""
    waiting = [view]
    for _ in range(_MOST_BOXES):
        while waiting and len(waiting[-1]) < _HEAD_BYTES:
            waiting.pop()
        if not waiting:
            return
        here = waiting.pop()
        size, kind, head = _number(here, 0, 4), bytes(here[4:8]), _HEAD_BYTES
        if size == 1:
            size, head = _number(here, 8, 8), 2 * _HEAD_BYTES
        size = size or len(here)  # 0: up to the end
        if size < head:
            raise ValueError("a box is shorter than its head")
        box = here[head:size]
        waiting.append(here[size:])
        if kind in _PARENTS:
            waiting.append(box[_VERSION_BYTES:] if kind == b"meta" else box)
        yield kind, box
    raise ValueError(f"it has more than {_MOST_BOXES} boxes")


def pieces(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the start and the end in ``data`` of the first part of each item, and of the first sample of each track.

    The end is the start where the file does not say it.

    Raises:
        ValueError: There are more items or boxes than any encoder writes.
    """
    found = chain.from_iterable(_pieces(kind, box) for kind, box in boxes(memoryview(data)))
    for number, (start, length) in enumerate(found):
        if number == _MOST_ITEMS:
            raise ValueError(f"it has more than {_MOST_ITEMS} items")
        yield start, start + length


def _pieces(kind: bytes, box: memoryview) -> Iterator[tuple[int, int]]:
    """Yield the offset in the file and the length of each piece that the box locates, 0 for an unknown length."""
    if kind == b"iloc":
        yield from _items(box)
    elif kind in {b"stco", b"co64"} and _number(box, 4, 4):
        yield _number(box, 8, 4 if kind == b"stco" else 8), 0


def _items(box: memoryview) -> Iterator[tuple[int, int]]:
    version, sizes = _number(box, 0, 1), _number(box, 4, 2)
    of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    of_index = of_index if version else 0
    of_item = 4 if version > 1 else 2
    number, position = _number(box, 6, of_item), 6 + of_item
    for _ in range(min(number, _MOST_ITEMS + 1)):
        position += of_item + (2 if version else 0) + 2
        base = _number(box, position, of_base)
        extents = _number(box, position + of_base, 2)
        position += of_base + 2
        at = position + of_index
        yield base + _number(box, at, of_offset), _number(box, at + of_offset, of_length)
        position += extents * (of_index + of_offset + of_length)


def _coded_pixels(obus: bytes) -> int:
    """Return how many pixels the sequence header at the start of an AV1 stream, ``obus``, allows; 0 without one."""
    position = 0
    for _ in range(_MOST_OBUS):
        if position >= len(obus):
            return 0
        head, position = obus[position], position + (2 if obus[position] & 4 else 1)
        size, position = _leb128(obus, position) if head & 2 else (len(obus), position)
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            return _Bits(obus[position : position + _SEQUENCE_BYTES]).largest_frame()
        position += size
    return 0


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at ``position``, 7 bits per byte, and its end."""
    value = 0
    for index, byte in enumerate(data[position : position + 8]):
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, position + index + 1
    return value, len(data)


class _Bits:
    """The bits of a sequence header, AV1 specification 5.5; bits beyond the end are 0."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data.ljust(_SEQUENCE_BYTES, b"\0"), "big")
        self._left = _SEQUENCE_BYTES * 8

    def largest_frame(self) -> int:
        """Return the pixels of the largest frame."""
        self._take(4)  # profile, still image
        if self._take(1):  # reduced header
            self._take(5)  # level
        else:
            self._skip_operating_points()
        across, down = self._take(4) + 1, self._take(4) + 1
        return (self._take(across) + 1) * (self._take(down) + 1)

    def _skip_operating_points(self) -> None:
        delay_bits = self._skip_timing() if self._take(1) else 0
        display_delay = self._take(1)
        for _ in range(self._take(5) + 1):
            self._take(12)
            if self._take(5) >= _FIRST_LEVEL_WITH_TIER:
                self._take(1)
            if delay_bits and self._take(1):
                self._take(2 * delay_bits + 1)
            if display_delay and self._take(1):
                self._take(4)

    def _skip_timing(self) -> int:
        """Return the bits of a decoder delay, 0 if there is none."""
        self._take(64)
        if self._take(1):
            zeros = next((number for number in range(32) if self._take(1)), 0)
            self._take(zeros)
        if not self._take(1):
            return 0
        delay_bits = self._take(5) + 1
        self._take(42)
        return delay_bits

    def _take(self, number: int) -> int:
        self._left = max(self._left - number, 0)
        return self._bits >> self._left & (1 << number) - 1


def _number(box: memoryview, at: int, size: int) -> int:
    return int.from_bytes(box[at : at + size], "big")

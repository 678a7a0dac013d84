"""PNG: its chunks, their order and their check sums."""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

__all__ = ["check", "has_all_pixels"]

_HEAD: Final = struct.Struct(">I4s")
_SIGNATURE_BYTES: Final = 8
# Width and height; then which bits go with which colour type, and the only methods that there are.
_HEADER: Final = re.compile(
    rb"(?!\x00{4}).{4}(?!\x00{4}).{4}"
    rb"(?:[\x01\x02\x04\x08\x10]\x00|[\x08\x10][\x02\x04\x06]|[\x01\x02\x04\x08]\x03)\x00\x00[\x00\x01]",
    re.DOTALL,
)
_FIELDS: Final = 16  # where those of the header begin in the file
_COLOUR_TYPE: Final = 25
_WITH_PALETTE: Final = 3
_INTERLACED: Final = 28
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by colour type
# Left, top, and the steps between columns and rows: one pass over all pixels, or the seven of Adam7.
_ONE_PASS: Final = ((0, 0, 1, 1),)
_SEVEN_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_AT_ONCE: Final = 1_000_000
_DEPTH_AND_COLOUR: Final = slice(24, 26)
_DEEP_RGBA: Final = bytes([16, 6])
_SLOW: Final = 5.0  # as if so many bytes were held: 64 megapixels would take 1.6 s
# Pillow takes 4 microseconds for each. Encoders write pieces of 8 kB and more: 20 MB are 2,500.
_MOST_CHUNKS: Final = 20_000
_MOST_METADATA: Final = 8_000_000  # bytes in all: profiles, texts, private data


def check(data: bytes) -> float:
    """Return 0.0: the decoder holds no more than the picture; but for 8 bytes a pixel, which take it long.

    Pillow's decoder takes no notice of the check sums of the pixels, nor of a palette that comes too late.

    Raises:
        ValueError: A chunk is damaged or out of order, or there are more chunks or metadata than any encoder writes.
    """
    view, position, metadata, seen = memoryview(data), _SIGNATURE_BYTES, 0, b""
    for _ in range(_MOST_CHUNKS):
        length, kind, end = _chunk(view, position)
        _check_order(data, kind, seen, length)
        if kind == b"IEND":
            return _SLOW if data[_DEPTH_AND_COLOUR] == _DEEP_RGBA else 0.0
        metadata += length if kind not in {b"IDAT", b"fdAT"} else 0
        if metadata > _MOST_METADATA:
            raise ValueError(f"it has more than {_MOST_METADATA // 1_000_000} MB of metadata")
        if kind not in seen:
            seen += kind
        position = end
    raise ValueError(f"it has more than {_MOST_CHUNKS} chunks")


def has_all_pixels(data: bytes) -> bool:
    """Tell whether the compressed pixels of a file that :func:`check` passed are as many as its header announces.

    Pillow's decoder leaves what is missing black. It takes about as long as a third of decoding.
    """
    missing = _bytes_of_pixels(data)
    inflater = zlib.decompressobj()
    for piece in _pixel_chunks(memoryview(data)):
        rest: bytes | memoryview = piece
        came = _AT_ONCE
        while missing > 0 and (rest or came == _AT_ONCE):  # where as much came as may, there may be more inside
            came = len(inflater.decompress(rest, _AT_ONCE))
            rest = b"" if inflater.eof else inflater.unconsumed_tail
            missing -= came
    return missing <= 0


def _bytes_of_pixels(data: bytes) -> int:
    """Return how many bytes the rows of all passes take, each with the byte of its filter."""
    width, height = struct.unpack_from(">II", data, _FIELDS)
    bits = data[_COLOUR_TYPE - 1] * _SAMPLES[data[_COLOUR_TYPE]]
    count = 0
    for left, top, across, down in _SEVEN_PASSES if data[_INTERLACED] else _ONE_PASS:
        columns, rows = -(-max(0, width - left) // across), -(-max(0, height - top) // down)
        count += rows * (1 + -(-columns * bits // 8)) if columns else 0
    return count


def _pixel_chunks(view: memoryview) -> Iterator[memoryview]:
    position, kind = _SIGNATURE_BYTES, b""
    while kind != b"IEND":
        length, kind = _HEAD.unpack_from(view, position)
        if kind == b"IDAT":
            yield view[position + 8 : position + 8 + length]
        position += 12 + length


def _chunk(view: memoryview, position: int) -> tuple[int, bytes, int]:
    """Return the length and the kind of the chunk at ``position``, whose check sum is right, and where it ends."""
    if len(view) < position + 12:
        raise ValueError("it ends too early")
    length, kind = _HEAD.unpack_from(view, position)
    end = position + 12 + length
    if len(view) < end:
        raise ValueError("it ends too early")
    if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
        raise ValueError(f"wrong check sum of the chunk {kind!r}")
    return length, kind, end


def _check_order(data: bytes, kind: bytes, seen: bytes, length: int) -> None:
    if (kind == b"IHDR") == bool(seen):
        raise ValueError("its header is not where it must be")
    if kind == b"IHDR" and not _HEADER.fullmatch(data, _FIELDS, _FIELDS + length):
        raise ValueError("its header has values that are not allowed")
    late = kind == b"PLTE" and b"IDAT" in seen
    missing = kind == b"IDAT" and data[_COLOUR_TYPE] == _WITH_PALETTE and b"PLTE" not in seen
    if late or missing:
        raise ValueError("its palette is not before its pixels")
    if kind == b"IEND" and b"IDAT" not in seen:
        raise ValueError("it has no pixels")

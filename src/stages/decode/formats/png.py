"""PNG: the chunks, their order and their checksums; and the first frame of an animation."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from src.stages.decode.damage import AS_TEXT
from src.stages.decode.formats.scan import Canvas, Scan, unsupported

__all__ = ["has_all_pixels", "scan"]

_HEAD: Final = struct.Struct(">I4s")
_CHUNK_BYTES: Final = 12  # in addition to its data
_LONGEST: Final = 2**31 - 1
_COLORS_BYTES: Final = 4  # of cICP: primaries, transfer, matrix, range
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_SIGNATURE_BYTES: Final = len(_SIGNATURE)
# Width and height; then the bit depths of each color type, and the only methods that exist.
_HEADER: Final = re.compile(
    rb"(?!\x00{4}).{4}(?!\x00{4}).{4}"
    rb"(?:[\x01\x02\x04\x08\x10]\x00|[\x08\x10][\x02\x04\x06]|[\x01\x02\x04\x08]\x03)\x00\x00[\x00\x01]",
    re.DOTALL,
)
_FIRST_KIND: Final = slice(12, 16)
_FRAME: Final = struct.Struct(">4xIIII")  # of fcTL: width, height, left, top
_FRAME_BYTES: Final = 26
_NUMBER_BYTES: Final = 4  # of fdAT, before the pixels
_CANVAS_BYTES: Final = 4.0  # per pixel
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_FIELDS: Final = 16  # offset of the header's fields in the file
_COLOR_TYPE: Final = 25
_WITH_PALETTE: Final = 3
_INTERLACED: Final = 28
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # per pixel, by color type
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
_FED: Final = 65_536  # compressed bytes: each step copies those that it leaves
_DEPTH_AND_COLOR: Final = slice(24, 26)
_DEEP_RGBA: Final = bytes([16, 6])
_SLOW: Final = 8.0  # counted as bytes held, because 64 megapixels would take 2 s, and 37 take 1.2
# Pillow takes 4 microseconds per chunk. Encoders write chunks of at least 8 kB: 20 MB are 2,500.
_MOST_CHUNKS: Final = 20_000
_MOST_METADATA: Final = 8_000_000  # bytes in total: profiles, texts, private data
_COMPRESSED: Final = frozenset({b"iCCP", b"zTXt", b"iTXt"})
_MOST_COMPRESSED: Final = 64  # Pillow decompresses each, up to 8 MB, however often they are repeated

_ANCILLARY: Final = 0x20  # in the first letter of a kind
_OF_PIXELS: Final = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})  # though decoders may ignore them
_LENGTHS: Final = {b"pHYs": 9, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1}
_FORMS: Final = {kind: re.compile(rb".{%d}" % length, re.DOTALL) for kind, length in _LENGTHS.items()} | dict.fromkeys(
    (b"iCCP", b"zTXt"), re.compile(rb"[^\0]{1,79}\0\0")
)


def scan(data: bytes) -> Scan:
    """Return ``data`` without damaged metadata, with its end if only that was missing; or an animation's first frame.

    The decoder holds no more than the image, but is slow with 8 bytes per pixel. It ignores the checksums of the
    pixels, and a palette that comes too late.

    Raises:
        ValueError: A chunk is damaged or out of order, or there are more chunks or metadata than any encoder writes.
        UnsupportedImage: The file is optimized for iPhones, with another order and compression of pixels.
    """
    if not data.startswith(_SIGNATURE):
        raise ValueError(AS_TEXT)
    if data[_FIRST_KIND] == b"CgBI":
        raise unsupported("a PNG file optimized for iPhones (CgBI)", "the PNG file that it was made from")
    data = _without_spoiled(data)
    view, position, metadata, compressed, seen, colors = memoryview(data), _SIGNATURE_BYTES, 0, 0, b"", None
    for _ in range(_MOST_CHUNKS):
        if _is_cut(view, position):
            return scan(_ended(data, position, seen))
        length, kind, end = _chunk(view, position)
        _check_order(data, kind, seen, length)
        if kind == b"IEND":
            held = _SLOW if data[_DEPTH_AND_COLOR] == _DEEP_RGBA else 0.0
            animated = b"acTL" in seen and b"fcTL" in seen and seen.index(b"IDAT") < seen.index(b"fcTL")
            found = _first_frame(data, held) if animated else Scan(data, held)
            return replace(found, colors=colors)
        metadata += length if kind not in {b"IDAT", b"fdAT"} else 0
        if metadata > _MOST_METADATA:
            raise ValueError(f"it has more than {_MOST_METADATA // 1_000_000} MB of metadata")
        compressed += kind in _COMPRESSED
        if compressed > _MOST_COMPRESSED:
            raise ValueError(f"it has more than {_MOST_COMPRESSED} compressed texts and profiles")
        if kind == b"cICP" and length == _COLORS_BYTES and b"IDAT" not in seen:
            colors = (data[position + 8], data[position + 9])
        if kind not in seen:
            seen += kind
        position = end
    raise ValueError(f"it has more than {_MOST_CHUNKS} chunks")


def has_all_pixels(data: bytes) -> bool:
    """Return whether a file that :func:`scan` passed has as many compressed pixels as its header announces.

    Pillow leaves missing pixels black. This check takes about a third of the time of decoding.
    """
    missing = _bytes_of_pixels(data)
    inflater = zlib.decompressobj()
    chunks = (piece for kind, piece in _chunks(memoryview(data)) if kind == b"IDAT")
    for fed in (piece[at : at + _FED] for piece in chunks for at in range(0, len(piece), _FED)):
        if inflater.eof or missing <= 0:  # it would collect everything behind the end, and copy it for each piece
            break
        rest: bytes | memoryview = fed
        came = _AT_ONCE
        while missing > 0 and (rest or came == _AT_ONCE):  # a full result may not be all of it
            came = len(inflater.decompress(rest, _AT_ONCE))
            rest = b"" if inflater.eof else inflater.unconsumed_tail
            missing -= came
    return missing <= 0


def _without_spoiled(data: bytes) -> bytes:
    """Return ``data`` without chunks of metadata that are damaged: browsers ignore them, Pillow refuses the file."""
    view, position, begins, kept = memoryview(data), _SIGNATURE_BYTES, 0, list[memoryview]()
    for _ in range(_MOST_CHUNKS):
        if _is_cut(view, position):
            break
        length, kind = _HEAD.unpack_from(view, position)
        end = position + _CHUNK_BYTES + length
        if kind[0] & _ANCILLARY and kind not in _OF_PIXELS and _is_spoiled(kind, view[position + 4 : end]):
            kept.append(view[begins:position])
            begins = end
        position = end
    return b"".join((*kept, view[begins:])) if kept else data


def _is_spoiled(kind: bytes, chunk: memoryview) -> bool:
    """Return whether the checksum of a ``chunk``, from its kind on, is wrong, or it is not as Pillow expects it."""
    form = _FORMS.get(kind)
    wrong = zlib.crc32(chunk[:-4]) != int.from_bytes(chunk[-4:], "big")
    return wrong or (form is not None and not form.match(chunk[4:-4]))


def _is_cut(view: memoryview, position: int) -> bool:
    left = len(view) - position
    return left < _CHUNK_BYTES or left < _CHUNK_BYTES + _HEAD.unpack_from(view, position)[0]


def _ended(data: bytes, position: int, seen: bytes) -> bytes:
    """Return ``data``, which is truncated in the chunk at ``position``, with its end: browsers show it, too.

    Raises:
        ValueError: Pixels are missing.
    """
    rest = data[position + 8 :] if data[position + 4 : position + 8] == b"IDAT" else b""
    ended = data[:position] + (_as_chunk(b"IDAT", rest) if rest else b"") + _END
    length = int.from_bytes(data[position : position + 4], "big")
    if not seen or length > _LONGEST or not (rest or b"IDAT" in seen) or not has_all_pixels(ended):
        raise ValueError("it ends too early")
    return ended


def _as_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _first_frame(data: bytes, held: float) -> Scan:
    """Return the first frame of an animation whose default image is not a frame, as a file of its own.

    Raises:
        ValueError: It has no pixels, or lies outside the canvas.
    """
    before, pixels, header, frame = bytearray(), bytearray(), b"", b""
    for kind, piece in _chunks(memoryview(data)):
        if kind == b"fcTL" and frame:
            break
        if kind == b"fcTL":
            frame = bytes(piece)
        elif kind == b"fdAT":
            pixels += _as_chunk(b"IDAT", bytes(piece[_NUMBER_BYTES:]))
        elif kind == b"IHDR":
            header = bytes(piece)
        elif kind not in {b"acTL", b"IDAT"} and not frame:
            before += _as_chunk(kind, bytes(piece))
    if len(frame) != _FRAME_BYTES or not pixels:
        raise ValueError("its first frame has no pixels")
    (across, down), (width, height, left, top) = struct.unpack_from(">II", header), _FRAME.unpack_from(frame)
    if not (0 < width <= across - left and 0 < height <= down - top):
        raise ValueError("its first frame lies outside its canvas")
    alone = data[:_SIGNATURE_BYTES] + _as_chunk(b"IHDR", struct.pack(">II", width, height) + header[8:])
    canvas = None if (width, height) == (across, down) else Canvas(across, down, left, top)
    return Scan(b"".join((alone, before, pixels, _END)), held + (_CANVAS_BYTES if canvas else 0), canvas)


def _bytes_of_pixels(data: bytes) -> int:
    """Return how many bytes the rows of all passes take, each with its filter byte."""
    width, height = struct.unpack_from(">II", data, _FIELDS)
    bits = data[_COLOR_TYPE - 1] * _SAMPLES[data[_COLOR_TYPE]]
    count = 0
    for left, top, across, down in _SEVEN_PASSES if data[_INTERLACED] else _ONE_PASS:
        columns, rows = -(-max(0, width - left) // across), -(-max(0, height - top) // down)
        count += rows * (1 + -(-columns * bits // 8)) if columns else 0
    return count


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position, kind = _SIGNATURE_BYTES, b""
    while kind != b"IEND":
        length, kind = _HEAD.unpack_from(view, position)
        yield kind, view[position + 8 : position + 8 + length]
        position += 12 + length


def _chunk(view: memoryview, position: int) -> tuple[int, bytes, int]:
    """Return the length, the kind and the end of the chunk at ``position``, after verifying its checksum."""
    length, kind = _HEAD.unpack_from(view, position)
    end = position + 12 + length
    if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
        raise ValueError(f"the checksum of the chunk {kind!r} is wrong")
    return length, kind, end


def _check_order(data: bytes, kind: bytes, seen: bytes, length: int) -> None:
    if (kind == b"IHDR") == bool(seen):
        raise ValueError("its header is not where it must be")
    if kind == b"IHDR" and not _HEADER.fullmatch(data, _FIELDS, _FIELDS + length):
        raise ValueError("its header has values that are not allowed")
    late = kind == b"PLTE" and b"IDAT" in seen
    missing = kind == b"IDAT" and data[_COLOR_TYPE] == _WITH_PALETTE and b"PLTE" not in seen
    if late or missing:
        raise ValueError("its palette is not before its pixels")
    if kind == b"IEND" and b"IDAT" not in seen:
        raise ValueError("it has no pixels")

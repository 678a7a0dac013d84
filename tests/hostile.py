"""Image files that are built to be expensive: well formed enough to be decoded, each slow or large in its own way."""

import struct
import zlib
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, Final

from PIL import Image

from tests.files import saved

__all__ = ["HOSTILE", "bmp", "box", "chunk", "gif", "jpeg", "png", "riff", "segment", "tiff"]

_ROOM: Final = 14_000_000  # bytes: 20 MB of base64 hold 15 MB


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(  # noqa: PLR0913 - a header has that many fields
    width: int, height: int, rows: bytes, *, bits: int = 8, color: int = 2, interlace: int = 0, before: bytes = b""
) -> bytes:
    """Return a PNG file with the chunks ``before`` the filtered ``rows``."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlace))
    body = chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + before + body


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG file."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg(width: int, height: int, mode: str = "RGB", before: bytes = b"", **options: Any) -> bytes:
    """Return a JPEG file of one color, with ``before`` behind its first marker."""
    data = saved(Image.new(mode, (width, height), 0), "JPEG", **options)
    return data[:2] + before + data[2:]


def _last_scans(data: bytes, number: int) -> bytes:
    """Repeat the last scan of a progressive JPEG file ``number`` times."""
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * number + data[-2:]


def _repeated_components(width: int, height: int, number: int) -> bytes:
    """Return a sequential JPEG file whose components have scans of their own, ``number`` of the first."""
    data = saved(Image.new("L", (width, height)), "JPEG")
    frame = data.index(b"\xff\xc0")
    length = struct.unpack_from(">H", data, frame + 2)[0]
    three = segment(0xC0, data[frame + 4 : frame + 9] + b"\x03" + b"\x01\x11\x00\x02\x11\x00\x03\x11\x00")
    data = data[:frame] + three + data[frame + 2 + length :]
    start = data.index(b"\xff\xda")
    return data[:start] + data[start:-2] * number + data[-2:]


def _spoiled(data: bytes, junk: bytes) -> bytes:
    """Put ``junk`` between the pixels and the end marker."""
    return data[:-2] + junk + data[-2:]


def gif(before: bytes = b"", width: int = 16, height: int = 16) -> bytes:
    """Return a GIF file of one color with the extensions ``before`` its image."""
    data = saved(Image.new("P", (width, height)), "GIF")
    start = data.index(b",")
    return data[:start] + before + data[start:]


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP file of ``chunks``."""
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for kind, d in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box of an AVIF or HEIF file."""
    data = b"".join(parts)
    return struct.pack(">I", len(data) + 8) + kind + data


def tiff(entries: dict[int, tuple[int, Iterable[int]]], data: bytes = b"", *, order: str = "<") -> bytes:
    """Return a TIFF file of tag -> (type, values); ``data`` begins at the offset 8."""
    codes = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}
    outside = bytearray()
    start = 8 + len(data)
    directory = b""
    for tag, (kind, values) in sorted(entries.items()):
        listed = list(values)
        packed = struct.pack(f"{order}{len(listed)}{codes[kind]}", *listed)
        if len(packed) > 4:
            offset = start + len(outside)
            outside += packed + b"\0" * (len(packed) % 2)
            packed = struct.pack(f"{order}I", offset)
        directory += struct.pack(f"{order}HHI", tag, kind, len(listed)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start + len(outside))
    return head + data + bytes(outside) + struct.pack(f"{order}H", len(entries)) + directory + bytes(4)


def _gray_tiff(width: int, height: int, compression: int = 1, **more: Any) -> dict[int, tuple[int, Iterable[int]]]:
    tags: dict[int, tuple[int, Iterable[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8]),
        259: (3, [compression]),
        262: (3, [1]),
        277: (3, [1]),
    }
    return tags | {int(tag.removeprefix("t")): value for tag, value in more.items()}


def bmp(width: int, height: int, data: bytes, bits: int = 8, compression: int = 1) -> bytes:
    """Return a BMP file with a palette and run-length coded ``data``."""
    palette = b"".join(bytes([shade, shade, shade, 0]) for shade in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(palette) + len(data), 0, 0, 54 + len(palette)) + head + palette + data


def _many_png_chunks(kind: bytes, data: bytes) -> bytes:
    return png(16, 16, bytes(16 * 49), before=chunk(kind, data) * (_ROOM // (len(data) + 12)))


def _png_of_tiny_pieces() -> bytes:
    whole = zlib.compress(bytes(1000 * 3001), 0)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1000, 1000, 8, 2, 0, 0, 0))
    pieces = b"".join(chunk(b"IDAT", whole[i : i + 1]) for i in range(min(len(whole), _ROOM // 13)))
    return b"\x89PNG\r\n\x1a\n" + header + pieces + chunk(b"IEND", b"")


def _text_bombs() -> bytes:
    bomb = b"k\0\0" + zlib.compress(bytes(1_000_000), 9)
    return png(16, 16, bytes(16 * 49), before=chunk(b"zTXt", bomb) * 2000)


def _paeth_rows(width: int, height: int, size: int) -> bytes:
    return (b"\x04" + bytes(width * size)) * height


def _animated_png(frames: int) -> bytes:
    control = chunk(b"acTL", struct.pack(">II", frames, 0))
    head = struct.pack(">IIIIIHHBB", 0, 16, 16, 0, 0, 1, 1, 0, 0)
    data = png(16, 16, bytes(16 * 49), before=control + chunk(b"fcTL", head))
    body = zlib.compress(bytes(16 * 49))
    more = b"".join(
        chunk(b"fcTL", struct.pack(">I", 2 * i + 1) + head[4:]) + chunk(b"fdAT", struct.pack(">I", 2 * i + 2) + body)
        for i in range(frames)
    )
    return data[:-12] + more + data[-12:]


def _canvas_webp(width: int, height: int, frames: int) -> bytes:
    still = saved(Image.new("RGB", (16, 16)), "WEBP", lossless=True)
    frame = bytes(6) + b"\x0f\0\0\x0f\0\0" + b"\x64\0\0\0" + still[12:]
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return riff((b"VP8X", b"\x02\0\0\0" + sides), (b"ANIM", bytes(6)), *repeat((b"ANMF", frame), frames))


def _overlapping_strips() -> bytes:
    """Return a TIFF file each of whose strips is the whole file, stored with its bits in reverse."""
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    data = zlib.compress(bytes(16), 9).translate(mirrored) + bytes(8_000_000)
    rows = 10_000
    return tiff(
        _gray_tiff(
            16,
            rows,
            8,
            t266=(3, [2]),
            t273=(4, repeat(8, rows)),
            t278=(4, [1]),
            t279=(4, repeat(len(data), rows)),
        ),
        data,
    )


def _directories_of_thousands() -> bytes:
    """Return a TIFF file of 64 thumbnails with 64 subimages each, all of them a directory of 4,096 tags."""
    size = 2 + 12 * 4096 + 4
    shared = 8 + 64 * size + 64 * 4  # behind the pages and the list of their subimages
    pages = []
    for page in range(1, 65):
        tags = [(254, 4, 1, 1), (256, 4, 1, 16), (257, 4, 1, 16), (330, 4, 64, 8 + 64 * size)]
        tags += [(tag, 3, 1, 0) for tag in range(500, 500 + 4096 - len(tags))]
        entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        pages.append(struct.pack("<H", 4096) + entries + struct.pack("<I", 8 + page * size if page < 64 else 0))
    return struct.pack("<2sHI", b"II", 42, 8) + b"".join(pages) + struct.pack("<I", shared) * 64 + pages[-1]


def _lied_size(data: bytes, width: int, height: int) -> bytes:
    """Let every ``ispe`` property of an AVIF or HEIF file name another size than that of the coded image."""
    start = data.index(b"ispe") + 8
    return data[:start] + struct.pack(">II", width, height) + data[start + 8 :]


HOSTILE: Final[dict[str, Callable[[], bytes]]] = {
    "jpeg: 2,000 scans": lambda: _last_scans(jpeg(4000, 4000, progressive=True), 2000),
    "jpeg: 400 scans of 64 megapixels": lambda: _last_scans(jpeg(8000, 8000, "L", progressive=True), 400),
    "jpeg: 18 scans of a component": lambda: _repeated_components(8000, 8000, 18),
    "jpeg: empty comments": lambda: jpeg(16, 16, before=segment(0xFE, b"") * (_ROOM // 4)),
    "jpeg: empty huffman segments": lambda: jpeg(16, 16, before=segment(0xC4, b"") * (_ROOM // 4)),
    "jpeg: codes behind the last pixel": lambda: _spoiled(jpeg(5700, 5700, "L"), bytes(range(1, 200))),
    "jpeg: no end behind 64 megapixels": lambda: jpeg(8000, 8000)[:-2],
    "jpeg: empty segments behind the pixels, and no end": lambda: jpeg(16, 16)[:-2] + segment(0xFE, b"") * (_ROOM // 4),
    "jpeg: empty segments between scans": lambda: _spoiled(
        _repeated_components(16, 16, 3).replace(b"\xff\xda", segment(0xFE, b"") * 1_000_000 + b"\xff\xda"), b"ab"
    ),
    "jpeg: fill bytes": lambda: jpeg(16, 16, before=b"\xff" * _ROOM),
    "jpeg: junk between segments": lambda: jpeg(16, 16, before=segment(0xFE, b"x") + bytes(_ROOM)),
    "jpeg: exif in thousands of pieces": lambda: jpeg(16, 16, before=segment(0xE1, b"Exif\0\0" + bytes(3000)) * 4600),
    "jpeg: quantization tables": lambda: jpeg(16, 16, before=segment(0xDB, (b"\0" + b"\1" * 64) * 1000) * 210),
    "png: empty text chunks": lambda: _many_png_chunks(b"tEXt", b"k\0"),
    "png: unknown chunks": lambda: _many_png_chunks(b"abCd", b""),
    "png: empty data chunks": lambda: _many_png_chunks(b"IDAT", b""),
    "png: data in pieces of a byte": _png_of_tiny_pieces,
    "png: data behind the early end of the pixels": lambda: png(
        16, 16, b"", before=chunk(b"IDAT", zlib.compress(b"few")) + chunk(b"IDAT", bytes(1000)) * 13_000
    )[:-12],
    "png: text bombs": _text_bombs,
    "png: text of line feeds": lambda: png(
        16, 16, bytes(784), before=chunk(b"tEXt", b"Raw profile type exif\0" + b"\n" * _ROOM)
    ),
    "png: profile bomb": lambda: png(
        16, 16, bytes(784), before=chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(60_000_000), 9))
    ),
    "png: the same profile again and again": lambda: _many_png_chunks(
        b"iCCP", b"p\0\0" + zlib.compress(bytes(990_000), 9)
    ),
    "png: exif of 65,535 tags": lambda: png(
        16,
        16,
        bytes(784),
        before=chunk(
            b"eXIf",
            b"II*\0\x08\0\0\0\xff\xff" + b"".join(struct.pack("<HHII", i, 4, 1, i) for i in range(65_535)) + bytes(4),
        ),
    ),
    "png: 37 megapixels of 4 x 16 bits": lambda: png(6100, 6100, _paeth_rows(6100, 6100, 8), bits=16, color=6),
    "png: 64 megapixels, interlaced": lambda: png(8000, 8000, b"\x04" * (8000 * 24_001 + 8000 * 2), interlace=1),
    "png: animation of 50,000 frames": lambda: _animated_png(50_000),
    "gif: comments in pieces of a byte": lambda: gif(b"!\xfe" + b"\x01a" * (_ROOM // 2) + b"\0"),
    "gif: empty extensions": lambda: gif(b"!\xf9\0" * (_ROOM // 3)),
    "gif: zeros": lambda: gif(bytes(_ROOM)),
    "gif: application data in pieces": lambda: gif(b"!\xff" + b"\x01a" * (_ROOM // 2) + b"\0"),
    "webp: canvas of 268 megapixels": lambda: _canvas_webp(16_384, 16_384, 2),
    "webp: 100,000 frames": lambda: _canvas_webp(16, 16, 100_000),
    "webp: a million unknown chunks": lambda: riff(
        (b"VP8X", bytes(4) + b"\x0f\0\0\x0f\0\0"),
        *repeat((b"abcd", b""), 1_000_000),
        (b"VP8L", saved(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[20:]),
    ),
    "bmp: run-length coded ends of lines": lambda: bmp(20_000, 3200, b"\x01\x00\x00\x00" * 3200 + b"\0\1"),
    "bmp: run-length coded pairs": lambda: bmp(8000, 8000, b"\xff\x12" * 260_000 + b"\0\1", 4, 2),
    "bmp: run-length coded single pixels": lambda: bmp(4000, 1700, b"\x01\x07" * 6_800_000 + b"\0\1"),
    "tiff: millions of strips": lambda: tiff(
        _gray_tiff(16, 16, t273=(4, repeat(8, 3_000_000)), t278=(4, [1]), t279=(4, [16])), bytes(16)
    ),
    "tiff: strips that overlap": _overlapping_strips,
    "tiff: exif directory of millions of values": lambda: tiff(
        _gray_tiff(16, 16, t273=(4, [8]), t278=(4, [16]), t279=(4, [256]), t34665=(4, [264]))
        | {40_000: (4, repeat(1, 3_000_000))},
        bytes(256) + struct.pack("<HHHIII", 1, 37_500, 4, 3_000_000, 300, 0),
    ),
    "tiff: large jpeg tables, copied for each strip": lambda: tiff(
        _gray_tiff(16, 20_000, 7, t273=(4, repeat(8, 20_000)), t278=(4, [1]), t279=(4, repeat(4, 20_000)))
        | {347: (1, bytes(_ROOM))},
        b"abcd",
    ),
    "tiff: the same jpeg strip again and again": lambda: tiff(
        _gray_tiff(8000, 8000, 7, t273=(4, repeat(8, 36)), t278=(4, [8000]), t279=(4, repeat(770_000, 36))),
        jpeg(8000, 8000, "L").ljust(_ROOM, b"\0"),
    ),
    "tiff: directories of 4,096 tags": _directories_of_thousands,
    "tiff: 65,000 tags": lambda: tiff(
        _gray_tiff(16, 16, t273=(4, [8]), t278=(4, [16]), t279=(4, [256]))
        | {tag: (4, [1, 2, 3]) for tag in range(500, 65_500)},
        bytes(256),
    ),
    "tiff: directory that follows itself": lambda: tiff(
        _gray_tiff(16, 16, t273=(4, [8]), t278=(4, [16]), t279=(4, [256]), t330=(4, [8]), t34665=(4, [8])), bytes(256)
    ),
    "avif: coded larger than announced": lambda: _lied_size(
        saved(Image.new("L", (8_000, 5_000)), "AVIF", speed=10), 100, 100
    ),
}

"""PNG in every color type, depth, filter and order of rows, pixel for pixel; and all kinds of damage."""

import re
import struct
import time
import zlib
from itertools import product
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import png as pypng
import pytest

from src.errors import BrokenImage, UnsupportedImage
from src.stages.decode import DecodeLimits, decode_image
from src.stages.decode.formats.png import has_all_pixels
from tests.hostile import chunk
from tests.places import SHARED_DATA

Samples: TypeAlias = npt.NDArray[np.uint16]

LIMITS: Final = DecodeLimits()
CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
KINDS: Final = [(color, bits) for color, depths in DEPTHS.items() for bits in depths]
ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PYPNG_FAILS: Final = "cs3n2c16.png"  # on 16 bits of which 13 count
SUITE: Final = sorted((SHARED_DATA / "broken" / "pngsuite").glob("*.png"))
PALETTE: Final = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)


def packed(row: Samples, bits: int) -> bytes:
    """Return the samples of a row as bytes, the first in the highest bits."""
    if bits == 16:
        return row.astype(">u2").tobytes()
    shown = (row.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(shown.astype(np.uint8).ravel()).tobytes()


def filtered(rows: list[bytes], size: int, first: int, *, mixed: bool) -> bytes:
    """Return ``rows`` behind the filters of the PNG specification, chapter 9; pixels have ``size`` bytes."""
    result, above = b"", bytes(len(rows[0]) if rows else 0)
    for number, row in enumerate(rows):
        kind = (first + number) % 5 if mixed else first
        left, corner = bytes(size) + row, bytes(size) + above
        guesses = {
            0: bytes(len(row)),
            1: left,
            2: above,
            3: [(a + b) // 2 for a, b in zip(left, above, strict=False)],
            4: [paeth(a, b, c) for a, b, c in zip(left, above, corner, strict=False)],
        }[kind]
        result += bytes([kind]) + bytes((value - guess) % 256 for value, guess in zip(row, guesses, strict=False))
        above = row
    return result


def paeth(a: int, b: int, c: int) -> int:
    """Return the one of left, above and corner that is nearest to a + b - c."""
    distances = (abs(b - c), abs(a - c), abs(a + b - 2 * c))
    return (a, b, c)[distances.index(min(distances))]


def encoded(  # noqa: PLR0913 - a PNG file can be written in as many ways
    samples: Samples, color: int, bits: int, *, interlaced: bool, first: int, mixed: bool, key: bytes
) -> bytes:
    """Return a PNG file of ``samples`` (height, width, channels)."""
    height, width, channels = samples.shape
    size = max(1, channels * bits // 8)
    body = b""
    for x, y, dx, dy in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = samples[y::dy, x::dx]
        if part.size:
            body += filtered([packed(row.ravel(), bits) for row in part], size, first, mixed=mixed)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced)))
    palette = chunk(b"PLTE", PALETTE[: 2**bits].tobytes()) if color == 3 else b""
    transparent = chunk(b"tRNS", key) if key else b""
    pixels = zlib.compress(body)
    pieces = chunk(b"IDAT", pixels[:7]) + chunk(b"IDAT", b"") + chunk(b"IDAT", pixels[7:])
    return b"\x89PNG\r\n\x1a\n" + header + palette + transparent + pieces + chunk(b"IEND", b"")


def expected(samples: Samples, color: int, bits: int, key: Samples | None) -> npt.NDArray[np.float64]:
    """Return the image on white, by the definition of the format."""
    values = samples.astype(float) / (2**bits - 1)
    opacity = np.ones((*samples.shape[:2], 1))
    if color == 3:
        values = PALETTE[samples[..., 0]] / 255
        opacity = opacity if key is None else (np.append(key, [255] * 256)[samples[..., 0]] / 255)[..., None]
    elif color in {4, 6}:
        values, opacity = values[..., :-1], values[..., -1:]
    elif key is not None:
        opacity = (samples != key).any(axis=2, keepdims=True).astype(float)
    result: npt.NDArray[np.float64] = np.broadcast_to(values * opacity + 1 - opacity, (*samples.shape[:2], 3)) * 255
    return result


@pytest.mark.parametrize(("color", "bits"), KINDS)
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("transparent", [False, True])
def test_every_kind_of_png_is_decoded_exactly(
    color: int,
    bits: int,
    interlaced: bool,  # noqa: FBT001
    transparent: bool,  # noqa: FBT001
) -> None:
    """Every color type and depth, interlaced or not, with each filter and their mixtures, gives the right pixels."""
    if transparent and color in {4, 6}:
        return  # they have opacities of their own
    rng = np.random.default_rng([color, bits])
    for (height, width), (first, mixed) in product(
        [(1, 1), (2, 9), (13, 11)], [*((kind, False) for kind in range(5)), (1, True)]
    ):
        samples = rng.integers(0, 2**bits, (height, width, CHANNELS[color]), np.uint16)
        if bits == 16:
            samples = samples // 257 * 257  # what 8 bits can tell apart
        key = samples[0, 0] if color != 3 else rng.integers(0, 256, min(5, 2**bits), np.uint16)
        packed_key = (
            b"" if not transparent else bytes(key.astype(np.uint8)) if color == 3 else key.astype(">u2").tobytes()
        )
        data = encoded(samples, color, bits, interlaced=interlaced, first=first, mixed=mixed, key=packed_key)
        _, _, rows, _ = pypng.Reader(bytes=data).read()
        assert np.array_equal(np.vstack(list(rows)).reshape(samples.shape), samples)  # the file is right
        result = np.asarray(decode_image(data, LIMITS).raster)
        difference = np.abs(result - expected(samples, color, bits, key if transparent else None))
        assert difference.max() <= (1 if color in {3, 4, 6} or bits in {1, 2, 4} else 0.5)


VALID: Final = encoded(np.zeros((4, 4, 3), np.uint16), 2, 8, interlaced=False, first=0, mixed=False, key=b"")
HEADER: Final = VALID[8:33]
REST: Final = VALID[33:]
IEND: Final = VALID[-12:]
PIXELS: Final = zlib.compress(bytes(52))


def with_header(*fields: int) -> bytes:
    """Return the valid file with other fields in its header: width, height, bits, color, and the methods."""
    return VALID[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)) + REST


@pytest.mark.parametrize(
    "data",
    [
        b"\x88" + VALID[1:],
        VALID.replace(b"PNG", b"pNG", 1),
        VALID[:4] + b"\n" + VALID[6:],
        VALID.replace(b"\r\n\x1a\n", b"\r\n\x1a\r\n", 1),
        VALID.replace(b"\r\n", b"\n"),
        VALID.replace(b"\n", b"\r"),
        VALID[1:],
    ],
)
def test_a_png_with_a_wrong_signature_is_refused(data: bytes) -> None:
    """A damaged signature, as after a transfer in text mode, is not a PNG or a broken one."""
    with pytest.raises((BrokenImage, UnsupportedImage)):
        decode_image(data, LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        VALID[:29] + b"\0\0\0\0" + REST,
        VALID[:-13] + bytes([VALID[-13] ^ 1]) + IEND,
        VALID[:-1] + b"\0",
        VALID[: VALID.index(b"IDAT") + 20],
        VALID[:33],
        VALID[:8],
        with_header(4, 4, 3, 2, 0, 0, 0),
        with_header(4, 4, 0, 2, 0, 0, 0),
        with_header(4, 4, 99, 2, 0, 0, 0),
        with_header(4, 4, 8, 1, 0, 0, 0),
        with_header(4, 4, 8, 5, 0, 0, 0),
        with_header(4, 4, 8, 9, 0, 0, 0),
        with_header(4, 4, 16, 3, 0, 0, 0),
        with_header(4, 4, 4, 2, 0, 0, 0),
        with_header(4, 4, 8, 2, 1, 0, 0),
        with_header(4, 4, 8, 2, 0, 1, 0),
        with_header(4, 4, 8, 2, 0, 0, 2),
        with_header(0, 4, 8, 2, 0, 0, 0),
        with_header(4, 0, 8, 2, 0, 0, 0),
        with_header(4, 4, 8, 3, 0, 0, 0),
        VALID[:8] + chunk(b"IHDR", HEADER[8:20]) + REST,
        VALID[:8] + chunk(b"IHDR", HEADER[8:21] + b"\0") + REST,
        VALID[:33] + HEADER + REST,
        VALID[:8] + REST[:-12] + HEADER + IEND,
        VALID[:8] + REST,
        VALID[:33] + IEND,
        VALID[:33] + chunk(b"IDAT", b"") + IEND,
        VALID[:33] + chunk(b"IDAT", PIXELS[:6]) + IEND,
        VALID[:33] + chunk(b"IDAT", b"garbage") + IEND,
        VALID[:33] + chunk(b"IDAT", PIXELS[:5]) + chunk(b"tEXt", b"k\0v") + chunk(b"IDAT", PIXELS[5:]) + IEND,
        VALID[:33] + chunk(b"IDAT", zlib.compress((b"\x05" + bytes(12)) * 4)) + IEND,
        VALID[:33] + b"\xff\xff\xff\xffIDAT" + PIXELS + IEND,
        VALID[:33] + chunk(b"ID\0T", PIXELS) + REST,
        VALID[:8]
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, 0))
        + REST[:-12]
        + chunk(b"PLTE", bytes(6))
        + IEND,
    ],
    ids=range(34),
)
def test_an_invalid_png_is_broken(data: bytes) -> None:
    """Wrong checksums, headers, orders, palettes, ends and pixels are refused as broken."""
    decode_image(VALID, LIMITS)
    with pytest.raises(BrokenImage, match="damaged PNG file"):
        decode_image(data, LIMITS)


def spoiled(kind: bytes, data: bytes) -> bytes:
    """Return a chunk with a wrong checksum."""
    return chunk(kind, data)[:-1] + b"?"


@pytest.mark.parametrize(
    "metadata",
    [
        *(spoiled(kind, b"k\0value") for kind in (b"tEXt", b"eXIf", b"iCCP", b"pHYs", b"prIv")),
        *(chunk(kind, b"") for kind in (b"iCCP", b"zTXt", b"pHYs", b"gAMA", b"cHRM", b"sRGB")),
        *(chunk(kind, b"name\0\1data") for kind in (b"iCCP", b"zTXt")),
        chunk(b"iCCP", b"name\0"),
        chunk(b"pHYs", bytes(8)),
        chunk(b"cHRM", bytes(31)),
        spoiled(b"tIME", b"") * 5_000,
    ],
    ids=range(17),
)
def test_damaged_metadata_is_ignored(metadata: bytes) -> None:
    """Browsers show a file whose chunks of metadata are damaged, before or after its pixels; so do we."""
    expected = np.asarray(decode_image(VALID, LIMITS).raster)
    for data in (VALID[:33] + metadata + REST, VALID[:-12] + metadata + IEND):
        assert np.array_equal(np.asarray(decode_image(data, LIMITS).raster), expected)


def test_damaged_opacity_is_not_ignored() -> None:
    """What a file says about its pixels must be intact, even if it may be missing."""
    with pytest.raises(BrokenImage, match="checksum"):
        decode_image(VALID[:33] + spoiled(b"tRNS", bytes(6)) + REST, LIMITS)


@pytest.mark.parametrize("missing", range(1, 17))
def test_a_png_that_lacks_only_its_end_is_decoded(missing: int) -> None:
    """Bytes missing after the last pixel, including the last checksum, are tolerated, as in browsers."""
    samples = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint16)
    data = encoded(samples, 2, 8, interlaced=False, first=0, mixed=False, key=b"")
    assert np.array_equal(np.asarray(decode_image(data[:-missing], LIMITS).raster), samples)


def test_a_png_truncated_in_its_pixels_is_broken() -> None:
    """A file that ends with a complete chunk, but before its last pixel, is refused."""
    samples = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint16)
    data = encoded(samples, 2, 8, interlaced=False, first=0, mixed=False, key=b"")
    for end in range(34, len(data) - 22):
        with pytest.raises(BrokenImage):
            decode_image(data[:end], LIMITS)


# Animations


def animation(*frames: tuple[int, int, int, int, int], default: int | None = None, before: bytes = b"") -> bytes:
    """Return an APNG of 9 x 8 pixels; a frame is left, top, width, height and its shade; ``default`` is no frame."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 8, 8, 0, 0, 0, 0))
    pieces = [chunk(b"IDAT", _gray(9, 8, default))] if default is not None else []
    number = 0
    for left, top, width, height, shade in frames:
        pieces.append(chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, left, top, 0, 1, 0, 0)))
        number += 1
        if default is None and number == 1:
            pieces.append(chunk(b"IDAT", _gray(width, height, shade)))
            continue
        pixels = _gray(width, height, shade)
        for part in (pixels[:5], pixels[5:]):
            pieces.append(chunk(b"fdAT", struct.pack(">I", number) + part))
            number += 1
    control = chunk(b"acTL", struct.pack(">II", len(frames), 0))
    return b"\x89PNG\r\n\x1a\n" + header + control + before + b"".join(pieces) + IEND


def _gray(width: int, height: int, shade: int | None) -> bytes:
    return zlib.compress((b"\0" + bytes([shade or 0]) * width) * height)


def test_the_first_frame_of_an_animation_is_decoded_not_its_default_image() -> None:
    """The image for viewers without animation is not decoded, unless it is the first frame."""
    for data in (
        animation((0, 0, 9, 8, 70), (0, 0, 9, 8, 200), default=5),
        animation((0, 0, 9, 8, 70), (1, 1, 2, 2, 9)),
    ):
        assert decode_image(data, LIMITS).raster.getextrema() == ((70, 70),) * 3


def test_the_canvas_around_the_first_frame_is_white() -> None:
    """A first frame that does not cover the canvas is placed on white, with its transparent color."""
    key = chunk(b"tRNS", struct.pack(">H", 70))
    for before, shade in ((b"", 70), (key, 255)):
        image = decode_image(animation((2, 3, 4, 5, 70), default=5, before=before), LIMITS)
        expected = np.full((8, 9), 255)
        expected[3:8, 2:6] = shade
        assert (image.width, image.height) == (9, 8)
        assert np.array_equal(np.asarray(image.raster)[..., 0], expected)


@pytest.mark.parametrize("frame", [(6, 3, 4, 5, 70), (0, 4, 9, 5, 70), (0, 0, 0, 8, 70), (2**31, 0, 9, 8, 70)])
def test_a_first_frame_outside_its_canvas_is_broken(frame: tuple[int, int, int, int, int]) -> None:
    """A frame that does not fit is refused."""
    with pytest.raises(BrokenImage, match="outside its canvas"):
        decode_image(animation(frame, default=5), LIMITS)


def test_a_first_frame_without_pixels_is_broken() -> None:
    """An animation whose only image is its default image has no first frame."""
    data = animation((0, 0, 9, 8, 70), default=5)
    with pytest.raises(BrokenImage, match="no pixels"):
        decode_image(data[: data.index(b"fdAT") - 4] + IEND, LIMITS)


def test_a_png_for_iphones_is_named() -> None:
    """A PNG file optimized by Xcode, with other pixels in it, is not called damaged."""
    with pytest.raises(UnsupportedImage, match="CgBI"):
        decode_image(VALID[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + VALID[8:], LIMITS)


def ending_early(samples: Samples, color: int, bits: int, *, interlaced: bool, missing: int) -> bytes:
    """Return a PNG file of ``samples`` whose compressed pixels, well formed, end ``missing`` bytes too early."""
    whole = encoded(samples, color, bits, interlaced=interlaced, first=0, mixed=False, key=b"")
    first, position, pixels = whole.index(b"IDAT") - 4, whole.index(b"IDAT") - 4, b""
    while whole[position + 4 : position + 8] == b"IDAT":
        length = int.from_bytes(whole[position : position + 4], "big")
        pixels += whole[position + 8 : position + 8 + length]
        position += 12 + length
    body = zlib.decompress(pixels)
    return whole[:first] + chunk(b"IDAT", zlib.compress(body[: len(body) - missing])) + IEND


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("color", "bits"), KINDS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (8, 9), (13, 2)])
def test_missing_pixels_are_distinguished_from_black_ones(
    height: int, width: int, color: int, bits: int, *, interlaced: bool
) -> None:
    """A file without its last byte of pixels, which would be shown as black, is refused; one that is black is not."""
    black = np.zeros((height, width, CHANNELS[color]), np.uint16)
    decode_image(ending_early(black, color, bits, interlaced=interlaced, missing=0), LIMITS)
    with pytest.raises(BrokenImage, match=r"end too early|truncated"):
        decode_image(ending_early(black, color, bits, interlaced=interlaced, missing=1), LIMITS)
    if height > 1 and width > 1:
        bright = np.full_like(black, 2**bits - 1)
        missing = (height - 1) * width * CHANNELS[color] * bits // 16
        with pytest.raises(BrokenImage, match=r"end too early|truncated"):
            decode_image(ending_early(bright, color, bits, interlaced=interlaced, missing=missing + 1), LIMITS)


@pytest.mark.parametrize("missing", [0, 1])
def test_the_pixels_of_a_large_black_image_are_counted_to_the_last(missing: int) -> None:
    """Nine megabytes compressed to nine kilobytes are complete, or are refused."""
    body = bytes((1 + 3 * 2000) * 1500 - missing)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2000, 1500, 8, 2, 0, 0, 0))
    data = VALID[:8] + header + chunk(b"IDAT", zlib.compress(body)) + IEND
    if missing:
        with pytest.raises(BrokenImage, match=r"end too early|truncated"):
            decode_image(data, LIMITS)
    else:
        assert decode_image(data, LIMITS).raster.getextrema() == ((0, 0), (0, 0), (0, 0))


@pytest.mark.skipif(not SUITE, reason="needs PngSuite in ../shared")
@pytest.mark.parametrize(
    "path",
    [path for path in SUITE if re.match(r"[a-w]", path.name) and path.name != PYPNG_FAILS],
    ids=lambda path: path.stem,
)
def test_png_suite_is_decoded_as_by_another_decoder(path: Path) -> None:
    """The valid files of PngSuite have the same pixels as in pypng, which is written in plain Python."""
    data = path.read_bytes()
    width, height, rows, info = pypng.Reader(bytes=data).asRGBA()
    values = np.vstack([np.array(row) for row in rows]).reshape(height, width, 4) / (2 ** info["bitdepth"] - 1)
    on_white = (values[..., :3] * values[..., 3:] + 1 - values[..., 3:]) * 255
    result = np.asarray(decode_image(data, LIMITS).raster)
    assert np.abs(result - on_white).max() <= (1 if info["bitdepth"] == 8 else 1.5)


@pytest.mark.skipif(not SUITE, reason="needs PngSuite in ../shared")
@pytest.mark.parametrize("path", [path for path in SUITE if path.name.startswith("x")], ids=lambda path: path.stem)
def test_png_suites_broken_files_are_refused(path: Path) -> None:
    """The corrupt files of PngSuite are refused."""
    with pytest.raises((BrokenImage, UnsupportedImage)):
        decode_image(path.read_bytes(), LIMITS)


def counted(*chunks: bytes) -> tuple[bool, float]:
    """Return whether all 192 MB of pixels are in the IDAT ``chunks`` of a file, and how long it takes to find out."""
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 2, 0, 0, 0))
    file += b"".join(chunk(b"IDAT", data) for data in chunks) + chunk(b"IEND", b"")
    began = time.thread_time()
    return has_all_pixels(file), time.thread_time() - began


def test_what_follows_the_pixels_is_not_copied_again_and_again() -> None:
    """Megabytes behind the pixels, or behind an early end, do not multiply the time to count the pixels."""
    packer = zlib.compressobj()
    first = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    pixels = first + 192 * first[2:]  # without the header of zlib
    stored = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
    rest = stored.compress(bytes(19_000_000)) + stored.flush()
    (found, alone), (found_too, followed) = counted(pixels), counted(pixels + rest)
    assert found
    assert found_too
    assert followed < 2 * alone  # copied, 3 times as long
    found, seconds = counted(zlib.compress(b"few"), *[bytes(1000)] * 4000)
    assert not found
    assert seconds < 0.1  # copied, half a second

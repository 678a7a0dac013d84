"""Make and compare images."""

import struct
import zlib
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.errors import BrokenImage, ImageTooLarge, UnsupportedImage
from src.stages.decode import DecodeLimits, decode_image
from tests import files
from tests.hostile import chunk

Pixels: TypeAlias = npt.NDArray[np.uint8]

LIMITS: Final = DecodeLimits()
# What each format stores as it is; Pillow's writers convert the other modes to one of these or refuse them.
STORABLE: Final = {
    "JPEG": ("1", "L", "RGB", "CMYK", "YCbCr"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"),
    "AVIF": ("L", "RGB", "RGBA"),
    "HEIF": ("L", "LA", "RGB", "RGBA", "I;16"),
}
WITHOUT_EXIF: Final = ("GIF", "BMP")
LOSSY: Final = ("JPEG", "WEBP", "AVIF", "HEIF")
OPTIONS: Final[dict[str, dict[str, Any]]] = {name: {"quality": 95} for name in LOSSY}

QUADRANTS: Final[Pixels] = np.kron(np.arange(4, dtype=np.uint8).reshape(2, 2), np.ones((16, 32), np.uint8))
COLORS: Final[Pixels] = np.array([(220, 30, 30), (30, 200, 60), (40, 60, 210), (240, 240, 120)], np.uint8)
GRAYS: Final[Pixels] = np.array([230, 20, 60, 100], np.uint8)


def decoded(data: bytes, limits: DecodeLimits) -> Image.Image:
    """Decode at full size."""
    image = decode_image(data, limits)
    assert (image.width, image.height) == image.raster.size
    return image.raster


SIGNATURES: Final = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "WEBP": b"RIFF\xf4\x01\x00\x00WEBP",
    "GIF": b"GIF89a",
    "BMP": b"BM",
    "TIFF": b"II*\x00",
    "AVIF": b"\x00\x00\x00\x1cftypavif",
    "HEIF": b"\x00\x00\x00\x18ftypheic",
}


def as_stored(upright: Pixels, orientation: int) -> Pixels:
    """Return the rows of ``upright`` as a file with ``orientation`` stores them, as table 6 of EXIF 2.3 defines it.

    The comments say where in the upright image the first stored row and the first stored column are.
    """
    stored = {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1, :],  # bottom, left
        5: upright.T,  # left, top
        6: upright[:, ::-1].T,  # right, top
        7: upright[::-1, ::-1].T,  # right, bottom
        8: upright[::-1, :].T,  # left, bottom
    }
    return np.ascontiguousarray(stored[orientation])


def in_mode(quadrants: Pixels, mode: str) -> Image.Image:
    """Return an image of mode ``mode`` with the color or gray of each quadrant number."""
    gray = GRAYS[quadrants]
    size = quadrants.shape[1], quadrants.shape[0]
    if mode in ("1", "L", "LA"):
        return Image.fromarray(gray).convert("L").point(lambda v: 255 * (v > 127) if mode == "1" else v).convert(mode)
    if mode in ("P", "PA"):
        image = Image.frombytes("P", size, quadrants.tobytes())
        image.putpalette(COLORS.tobytes())
        return image.convert(mode)
    if mode == "CMYK":
        inks = np.concatenate([255 - COLORS[quadrants], np.zeros((*quadrants.shape, 1), np.uint8)], axis=2)
        return Image.frombytes("CMYK", size, inks.tobytes())
    deep = {"I;16": gray * np.uint16(257), "I": gray * np.int32(257), "F": gray / np.float32(255)}
    return Image.fromarray(deep[mode]) if mode in deep else Image.fromarray(COLORS[quadrants]).convert(mode)


def expected_quadrants(mode: str) -> Pixels:
    """Return the RGB pixels of the upright test image after it was stored in ``mode``."""
    if mode == "1":
        gray = np.where(GRAYS > 127, 255, 0).astype(np.uint8)[QUADRANTS]
    elif mode in ("L", "LA", "I;16", "I", "F"):
        gray = GRAYS[QUADRANTS]
    else:
        return COLORS[QUADRANTS]
    return np.repeat(gray[..., np.newaxis], 3, axis=2)


def saved(image: Image.Image, name: str, orientation: int = 1, **options: Any) -> bytes:
    """Return ``image`` as a file of format ``name``, with an EXIF block unless it is stored upright."""
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    return files.saved(image, name, **OPTIONS.get(name, {}) | options)


def with_damaged_exif(name: str, damage: bytes) -> bytes:
    """Return the upright test image with an EXIF block that begins with ``damage``."""
    image = in_mode(QUADRANTS, "RGB")
    if name == "PNG":  # by hand: its chunks have check sums, and those are to be right
        rows = b"".join(b"\x00" + row.tobytes() for row in COLORS[QUADRANTS])
        return png(64, 32, 8, 2, chunk(b"eXIf", damage), rows)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    data = saved(image, name, exif=exif.tobytes())
    start = data.rindex(b"MM\x00*", 0, data.index(b"a description"))
    return data[:start] + damage + data[start + len(damage) :]


def noise() -> Image.Image:
    """Return an image that no format can compress much."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def png(width: int, height: int, bits: int, color: int, chunks: bytes, rows: bytes) -> bytes:  # noqa: PLR0913, PLR0917
    """Return a PNG file with any header, ``chunks`` before the image, and filtered ``rows``."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return SIGNATURES["PNG"] + header + chunks + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(tags: dict[int, int], data: bytes) -> bytes:
    """Return a little-endian TIFF file with ``tags`` and one strip, or one tile if there are tile tags."""
    offset_tag, length_tag = (324, 325) if 322 in tags else (273, 279)
    entries = {**tags, offset_tag: 8 + 2 + 12 * (len(tags) + 2) + 4, length_tag: len(data)}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\x00" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + data


def gray_row(data: bytes) -> list[int]:
    """Decode ``data`` and return the shades of its first row, which has no color."""
    row = np.asarray(decoded(data, LIMITS))[0]
    assert (row == row[:, :1]).all()
    return [int(value) for value in row[:, 0]]


def outcome(data: bytes) -> Image.Image | None:
    """Return the image in ``data``, or None where it is refused as it should be."""
    try:
        result = decoded(data, LIMITS)
    except (UnsupportedImage, BrokenImage, ImageTooLarge):
        return None
    assert result.mode == "RGB"
    return result


def mean_difference(result: Image.Image, expected: Pixels) -> float:
    """Return the mean absolute difference of two images of the same size."""
    return float(np.abs(np.asarray(result).astype(np.int16) - expected).mean())


def greatest_difference(result: Image.Image, expected: Pixels) -> int:
    """Return the greatest absolute difference of two images of the same size."""
    return int(np.abs(np.asarray(result).astype(np.int16) - expected).max())

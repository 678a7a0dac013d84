"""Damage that decoders do not report: they would return other pixels."""

import struct
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

from src.errors import BrokenImage
from src.stages.decode import DecodeLimits, accepted_formats, decode_image
from tests.files import saved
from tests.hostile import box

LIMITS: Final = DecodeLimits()
ADAPTIVE: Final = [name for name in ("AVIF", "HEIF") if name in accepted_formats()]
LOSSY: Final = ["WEBP", *ADAPTIVE]


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8))


@pytest.mark.parametrize("filling", [0x00, 0xFF])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_hole_in_the_pixels_is_damage(name: str, filling: int) -> None:
    """A file whose download was interrupted, or whose disk lost a sector, is not decoded as if it were whole."""
    data = saved(_noise(), name, quality=90)
    assert decode_image(data, LIMITS).width == 128
    middle = len(data) // 2
    for end in (middle + 512, len(data)):
        with pytest.raises(BrokenImage, match="damaged"):
            decode_image(data[:middle] + bytes([filling]) * (end - middle) + data[end:], LIMITS)


@pytest.mark.parametrize("name", ["BMP", "GIF", "JPEG", "PNG", *LOSSY])
def test_a_download_that_was_continued_with_the_whole_file_is_damaged(name: str) -> None:
    """Where a server sends all of a file again, wget -c appends it to the part that is there."""
    data = saved(_noise(), name)
    for part in (len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(BrokenImage):
            decode_image(data[:part] + data, LIMITS)
    assert decode_image(data + data, LIMITS).width == 128  # nothing is damaged then


@pytest.mark.parametrize("name", ["BMP", "GIF", "JPEG", "PNG", *LOSSY])
def test_a_file_that_was_converted_as_text_is_damaged(name: str) -> None:
    """FTP and Git turn line feeds into two characters if they take a file for text; the message says so."""
    data = saved(_noise(), name)
    with pytest.raises(BrokenImage, match="line ends"):
        decode_image(data.replace(b"\n", b"\r\n"), LIMITS)


def test_a_color_that_looks_like_line_ends_is_no_damage() -> None:
    """Bytes of uncompressed pixels repeat, whatever they are."""
    for name in ("BMP", "TIFF", "PNG"):
        for color in ((13, 10, 200), (10, 13, 200), (200, 13, 10)):
            data = saved(Image.new("RGB", (64, 48), color), name)
            assert decode_image(data, LIMITS).raster.getpixel((5, 5)) == color


@pytest.mark.parametrize("name", LOSSY)
def test_zeros_and_line_ends_in_metadata_are_no_damage(name: str) -> None:
    """Cameras reserve space in EXIF, and XMP may have been written on Windows."""
    exif = Image.Exif()
    exif[0x927C] = bytes(4000)
    data = saved(Image.new("RGB", (64, 48)), name, exif=exif, xmp=b"<x:xmpmeta>\r\n" * 50)
    assert decode_image(data, LIMITS).width == 64


@pytest.mark.parametrize("options", [{"lossless": True}, {"alpha_quality": 0}])
def test_the_flat_parts_of_a_lossless_image_are_no_damage(options: dict[str, Any]) -> None:
    """Lossless WebP and uncompressed opacity have zeros for long where the image is plain."""
    plain = Image.new("RGBA", (1000, 1000), (0, 0, 0, 0))
    plain.paste(_noise(), (0, 0))
    data = saved(plain, "WEBP", quality=0, method=0, **options)
    assert bytes(500) in data
    assert decode_image(data, LIMITS).width == 1000


def test_the_flat_parts_of_a_lossy_webp_are_no_damage() -> None:
    """Its arithmetic code does not adapt: beside much detail, a white area is zeros for long."""
    half = Image.new("RGB", (1200, 800), "white")
    half.paste(_noise().resize((1200, 400)), (0, 0))
    data = saved(half, "WEBP", quality=95, method=0)
    assert bytes(500) in data
    assert decode_image(data, LIMITS).width == 1200


@pytest.mark.skipif("HEIF" not in accepted_formats(), reason="without pillow-heif")
def test_items_that_overlap_are_not_searched_again_and_again() -> None:
    """A thousand items that are each the whole file would take seconds."""
    size = 2_000_000
    units = struct.pack(">I", size - 4) + b"\x26" * (size - 4)
    start = 24 + 8
    item = struct.pack(">HHHII", 1, 0, 1, start, size)
    locations = bytes(4) + b"\x44\0" + struct.pack(">H", 900) + item * 900
    data = (
        box(b"ftyp", b"heic", bytes(4), b"mif1heic")
        + box(b"mdat", units)
        + box(b"meta", bytes(4), box(b"iloc", locations))
    )
    with pytest.raises(BrokenImage, match="overlap"):
        decode_image(data, LIMITS)

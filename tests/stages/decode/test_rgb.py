"""Gray of more than 8 bits, CMYK and transparency, converted to 8-bit RGB."""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from src.errors import UnsupportedImage
from src.stages.decode import accepted_formats
from tests.hostile import chunk
from tests.stages.decode.making import (
    GRAYS,
    LIMITS,
    QUADRANTS,
    decoded,
    expected_quadrants,
    gray_row,
    greatest_difference,
    in_mode,
    mean_difference,
    png,
    saved,
    tiff,
)


def test_big_endian_16_bit_tiff() -> None:
    """A 16-bit gray TIFF in Motorola byte order is read like one in Intel byte order."""
    data = saved(Image.fromarray((GRAYS[QUADRANTS] * np.uint16(257)).astype(">u2")), "TIFF")
    assert data.startswith(b"MM")
    assert greatest_difference(decoded(data, LIMITS), expected_quadrants("L")) == 0


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_by_its_full_range(name: str) -> None:
    """White in 16 bits is 65535 even when the image has nothing brighter than a dark gray."""
    data = saved(Image.fromarray(np.array([[0, 257, 2570, 25_700]], np.uint16)), name)
    assert gray_row(data) == [0, 1, 10, 100]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0.0, 0.2, 0.6, 1.0], np.float32), [0, 51, 153, 255]),
        (np.array([0.0, 51.0, 153.0, 254.6], np.float32), [0, 51, 153, 255]),
        (np.array([np.nan, 0.2, 0.6, 1.0], np.float32), [0, 51, 153, 255]),
        (np.array([-7.0, np.nan, 153.0, -np.inf], np.float32), [0, 0, 153, 0]),
        (np.array([np.nan, np.nan], np.float32), [0, 0]),
        (np.array([0, 51, 153, 255], np.int32), [0, 51, 153, 255]),
        (np.array([-1, 51 * 257, 153 * 257, 65_535], np.int32), [0, 51, 153, 255]),
        (np.array([0, 0, 0], np.int32), [0, 0, 0]),
        (np.array([0, 2**31 - 1], np.int32), [0, 127]),
    ],
)
def test_white_of_32_bit_gray_is_a_common_level(values: npt.NDArray[Any], expected: list[int]) -> None:
    """Integers and floats are scaled to the first sufficient white level; NaN and negative values are black."""
    assert gray_row(saved(Image.fromarray(values[np.newaxis]), "TIFF")) == expected


@pytest.mark.parametrize(("bits", "white"), [(8, 2**8 - 1), (16, 2**16 - 1), (32, 2**32 - 1)])
def test_unsigned_gray_tiff_of_every_depth(bits: int, white: int) -> None:
    """An unsigned gray TIFF shows 0 as black, the maximum as white and 2/3 of it as light gray."""
    values = np.array([0, white // 3 * 2, white], f"<u{bits // 8}")
    assert gray_row(tiff({256: 3, 257: 1, 258: bits, 262: 1, 277: 1}, values.tobytes())) == [0, 170, 255]


@pytest.mark.parametrize(("bits", "white"), [(8, None), (16, 2**16 - 1), (32, 2**32 - 1)])
def test_negative_values_are_never_bright(bits: int, white: int | None) -> None:
    """Signed samples below 0 are black; those of 8 bits, which the decoder takes for unsigned ones, are refused."""
    values = np.array([-(2 ** (bits - 1)), -1, 0, 2 ** (bits - 1) - 1], f"<i{bits // 8}")
    data = tiff({256: 4, 257: 1, 258: bits, 262: 1, 277: 1, 339: 2}, values.tobytes())
    if white:
        assert gray_row(data) == [0, 0, 0, round(255 * int(values[-1]) / white)]
    else:
        with pytest.raises(UnsupportedImage, match="8-bit signed integer gray"):
            gray_row(data)


def test_12_bit_tiff() -> None:
    """White in a 12-bit TIFF, as microscopes and X-ray detectors write it, is 4095."""
    rows = bytes.fromhex("fff000aaa555")
    assert gray_row(tiff({256: 4, 257: 1, 258: 12, 262: 1, 277: 1}, rows)) == [255, 0, 170, 85]


@pytest.mark.parametrize(("bits", "white"), [(8, 2**8 - 1), (16, 2**16 - 1)])
def test_tiff_where_white_is_zero(bits: int, white: int) -> None:
    """A TIFF that declares 0 to be white (X-ray scans do) is not shown as its negative."""
    values = np.array([0, white // 3, white], f"<u{bits // 8}")
    assert gray_row(tiff({256: 3, 257: 1, 258: bits, 262: 0, 277: 1}, values.tobytes())) == [255, 170, 0]


def test_adobes_cmyk_jpeg() -> None:
    """The inks of a CMYK JPEG are inverted, even if the marker that says so was removed: as in browsers."""
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, 16:, 3] = 255
    data = saved(Image.frombytes("CMYK", (32, 16), inks.tobytes()), "JPEG")
    marker = data.index(b"Adobe") - 4
    for file in (data, data[:marker] + data[marker + 16 :]):
        result = decoded(file, LIMITS)
        assert result.getpixel((4, 8)) == (255, 255, 255)
        assert result.getpixel((28, 8)) == (0, 0, 0)


# Transparency


@pytest.mark.parametrize(
    ("name", "mode"), [("PNG", "RGBA"), ("TIFF", "RGBA"), ("WEBP", "RGBA"), ("PNG", "LA"), ("TIFF", "LA")]
)
def test_every_shade_and_opacity_is_composited_onto_white(name: str, mode: str) -> None:
    """Each of the 256 shades is blended exactly with white at each of the 256 opacities."""
    opacity, shade = np.indices((256, 256))
    expected = np.rint((shade * opacity + 255 * (255 - opacity)) / 255).astype(np.uint8)
    bands = [shade] * (len(mode) - 1) + [opacity]
    image = Image.merge(mode, [Image.fromarray(band.astype(np.uint8)) for band in bands])
    options = {"lossless": True, "exact": True} if name == "WEBP" else {}
    result = decoded(saved(image, name, **options), LIMITS)
    assert greatest_difference(result, np.repeat(expected[..., np.newaxis], 3, axis=2)) == 0


@pytest.mark.parametrize("name", [name for name in ("AVIF", "HEIF") if name in accepted_formats()])
def test_lossy_transparency_is_composited_onto_white(name: str) -> None:
    """A quarter-opaque red becomes a light red in the lossy formats with alpha, too."""
    result = decoded(saved(Image.new("RGBA", (32, 32), (255, 0, 0, 64)), name), LIMITS)
    assert mean_difference(result, np.full((32, 32, 3), (255, 191, 191), np.uint8)) < 4


def test_palette_with_opacities_in_png() -> None:
    """Every palette entry of a PNG has its own opacity."""
    image = in_mode(QUADRANTS, "P")
    result = decoded(saved(image, "PNG", transparency=bytes([0, 128, 255, 255])), LIMITS)
    expected = np.array([(255, 255, 255), (142, 227, 157), (40, 60, 210), (240, 240, 120)], np.uint8)[QUADRANTS]
    assert greatest_difference(result, expected) == 0


def test_palette_with_alpha_in_tiff() -> None:
    """A TIFF with a palette and an alpha channel (mode PA) is composited onto white."""
    image = in_mode(QUADRANTS, "PA")
    image.putalpha(128)
    result = decoded(saved(image, "TIFF"), LIMITS)
    assert result.getpixel((0, 0)) == (237, 142, 142)
    assert result.getpixel((63, 0)) == (142, 227, 157)


@pytest.mark.parametrize("name", ["GIF", "PNG"])
def test_one_transparent_palette_entry(name: str) -> None:
    """The transparent color of a palette becomes white and the other colors stay."""
    result = decoded(saved(in_mode(QUADRANTS, "P"), name, transparency=1), LIMITS)
    assert result.getpixel((0, 0)) == (220, 30, 30)
    assert result.getpixel((63, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("bits", "color", "key", "row", "expected"),
    [
        (1, 0, (0,), b"\x40", [255, 255]),
        (2, 0, (1,), b"\x60", [255, 170]),
        (4, 0, (5,), b"\x5a", [255, 170]),
        (8, 0, (85,), b"\x55\xaa", [255, 170]),
        (8, 2, (85, 85, 85), b"\x55\x55\x55\xaa\xaa\xaa", [255, 170]),
        (16, 0, (0x5534,), b"\x55\x34\xaa\xaa", [255, 170]),
        (16, 2, (0x5534,) * 3, b"\x55\x34" * 3 + b"\xaa\xaa" * 3, [255, 170]),
        (16, 2, (0x55AA,) * 3, b"\x55\xaa" * 3 + b"\xaa\xaa" * 3, [255, 170]),
    ],
)
def test_transparent_color_of_a_png(
    bits: int, color: int, key: tuple[int, ...], row: bytes, expected: list[int]
) -> None:
    """The one color that a PNG declares transparent is white, and no other color is, at every bit depth."""
    transparent = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    assert gray_row(png(2, 1, bits, color, transparent, b"\x00" + row)) == expected

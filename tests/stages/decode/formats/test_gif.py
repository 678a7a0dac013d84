"""GIF: a first frame that does not cover the canvas."""

import struct
from typing import Final

import numpy as np
import pytest
from PIL import Image

from src.errors import ImageTooLarge
from src.stages.decode import DecodeLimits, decode_image
from tests.files import saved

LIMITS: Final = DecodeLimits()
SHADES: Final = np.arange(35, dtype=np.uint8).reshape(7, 5)


def gif(  # noqa: PLR0913 - as many things are written in its header
    width: int, height: int, left: int, top: int, *, interlace: int = 0, transparent: int | None = None
) -> bytes:
    """Return a GIF of ``width`` x ``height`` pixels with one frame of 5 x 7 pixels in 35 reds; color 0 is no white."""
    image = Image.fromarray(SHADES).convert("P")
    image.putpalette(bytes(value for shade in range(256) for value in (5 * shade % 256, 20, 30)))
    options = {} if transparent is None else {"transparency": transparent}
    data = bytearray(saved(image, "GIF", interlace=interlace, optimize=False, **options))
    struct.pack_into("<HH", data, 6, width, height)
    struct.pack_into("<HH", data, data.index(b",", 13 + (3 << (data[10] & 7) + 1)) + 1, left, top)
    return bytes(data)


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("transparent", [None, 3])
@pytest.mark.parametrize(("left", "top"), [(0, 0), (2, 3), (6, 5)])
def test_the_canvas_around_the_first_frame_is_white(
    left: int, top: int, transparent: int | None, interlace: int
) -> None:
    """Outside its first frame an image is transparent, so white, not the first color of the palette."""
    expected = np.full((12, 11, 3), 255)
    expected[top : top + 7, left : left + 5] = np.stack([5 * SHADES, 0 * SHADES + 20, 0 * SHADES + 30], axis=2)
    expected[top : top + 7, left : left + 5][transparent == SHADES] = 255
    image = decode_image(gif(11, 12, left, top, interlace=interlace, transparent=transparent), LIMITS)
    assert (image.width, image.height) == (11, 12)
    assert np.array_equal(np.asarray(image.raster), expected)


@pytest.mark.parametrize(("width", "height"), [(5, 7), (0, 0), (4, 7), (5, 3)])
def test_a_frame_larger_than_the_canvas_is_shown_whole(width: int, height: int) -> None:
    """A canvas that is smaller than the frame, or 0 as some writers leave it, does not crop it."""
    image = decode_image(gif(width, height, 0, 0), LIMITS)
    assert np.array_equal(np.asarray(image.raster)[..., 0], 5 * SHADES)


def test_the_limits_apply_to_the_canvas() -> None:
    """A small frame does not hide a canvas that is too large."""
    with pytest.raises(ImageTooLarge, match="60000 x 60000"):
        decode_image(gif(60_000, 60_000, 2, 3), LIMITS)

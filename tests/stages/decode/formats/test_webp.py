"""WebP: a first frame that does not cover the canvas."""

import struct

import numpy as np
import pytest
from PIL import Image

from src.stages.decode import DecodeLimits, decode_image
from tests.hostile import riff, saved


@pytest.mark.parametrize("flags", [0x02, 0x12])
@pytest.mark.parametrize("background", [bytes(4), b"\xff\xff\xff\xff", b"\0\0\xff\xff"])
def test_the_canvas_around_the_first_frame_is_white(flags: int, background: bytes) -> None:
    """Outside its first frame an animation is transparent, so white, whatever its flags and background."""
    still = saved(Image.new("RGB", (16, 12), (200, 30, 40)), "WEBP", lossless=True)
    area = [struct.pack("<I", number)[:3] for number in (8 // 2, 6 // 2, 15, 11)]  # half of left and top, size less 1
    frame = b"".join(area) + b"\x64\0\0\0" + still[12:]
    canvas = bytes([flags, 0, 0, 0]) + struct.pack("<I", 39)[:3] + struct.pack("<I", 49)[:3]
    data = riff((b"VP8X", canvas), (b"ANIM", background + bytes(2)), (b"ANMF", frame), (b"ANMF", frame))
    expected = np.full((50, 40, 3), 255)
    expected[6:18, 8:24] = (200, 30, 40)
    assert np.array_equal(np.asarray(decode_image(data, DecodeLimits()).raster), expected)

"""WebP: a first frame that does not cover the canvas, and files that end too early."""

import struct

import numpy as np
import pytest
from PIL import Image

from src.errors import BrokenImage
from src.stages.decode import DecodeLimits, decode_image
from tests.files import saved
from tests.hostile import riff


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


@pytest.mark.parametrize(
    "exif",
    [b"", b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\3\0\0\0" + bytes(40)],
    ids=["announces more", "cut in EXIF"],
)
def test_bytes_missing_behind_the_pixels_are_harmless(exif: bytes) -> None:
    """A file that is cut in its metadata, or announces more than it has, is decoded; not one that is cut in pixels."""
    colors = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    data = saved(Image.fromarray(colors), "WEBP", lossless=True, exif=exif)
    cut = data[:-30] if exif else data[:4] + struct.pack("<I", len(data)) + data[8:]
    expected = colors[::-1, ::-1] if exif else colors
    assert np.array_equal(np.asarray(decode_image(cut, DecodeLimits()).raster), expected)
    end = data.index(b"VP8L") + 8 + int.from_bytes(data[data.index(b"VP8L") + 4 :][:4], "little")
    with pytest.raises(BrokenImage):
        decode_image(data[: end - 1], DecodeLimits())

"""Limits on the size of images."""

import struct
import time
import zlib

import pytest
from PIL import Image

from src.errors import ImageTooLarge
from src.stages.decode import DecodeLimits, accepted_formats, decode_image
from tests.cost import cost_of
from tests.hostile import HOSTILE
from tests.stages.decode.making import LIMITS, decoded, noise, png, saved, tiff

each_format = pytest.mark.parametrize("name", accepted_formats())


def huge_headers(side: int = 50_000) -> dict[str, bytes]:
    """Return small files that announce ``side`` x ``side`` pixels."""
    small = Image.new("RGB", (8, 8))
    return {
        "PNG": png(side, side, 8, 2, b"", bytes(100)),
        "GIF": b"GIF89a" + struct.pack("<HH", side, side) + saved(small, "GIF")[10:],
        "BMP": saved(small, "BMP")[:18] + struct.pack("<ii", side, side) + saved(small, "BMP")[26:],
        "TIFF": tiff({256: side, 257: side, 258: 8, 262: 1, 277: 1}, bytes(100)),
    }


@pytest.mark.parametrize("name", ["PNG", "GIF", "BMP", "TIFF"])
def test_size_is_checked_in_the_header(name: str) -> None:
    """A small file that announces a huge image is refused immediately, with both sizes in the message."""
    data = huge_headers()[name]
    start = time.perf_counter()
    with pytest.raises(ImageTooLarge, match=r"50000 x 50000 pixels.*64000000.*20000"):
        decoded(data, LIMITS)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("side", [8_001, 9_500, 13_400, 20_000])
@pytest.mark.parametrize("name", ["PNG", "GIF", "BMP", "TIFF"])
def test_sizes_that_pillow_only_warns_about_are_refused(name: str, side: int) -> None:
    """Pillow warns from 89 megapixels and refuses from 179; here all above 64 are refused, without a warning."""
    data = huge_headers(side)[name]
    with pytest.raises(ImageTooLarge, match=f"{side} x {side} pixels"):
        decoded(data, LIMITS)


def test_a_huge_webp_is_refused_before_its_canvas_is_allocated() -> None:
    """The canvas of 268 megapixels, which would take 2 GB, is never touched."""
    data = HOSTILE["webp: canvas of 268 megapixels"]()

    def decode() -> None:
        with pytest.raises(ImageTooLarge, match="16384 x 16384"):
            decode_image(data, LIMITS)

    assert cost_of(decode).bytes < 50_000_000


@each_format
def test_limits_are_inclusive(name: str) -> None:
    """An image exactly as large as the limits is decoded; with limits one pixel lower it is refused."""
    data = saved(noise(), name)
    assert decoded(data, DecodeLimits(pixels=64 * 48, side=64)).size == (64, 48)
    for limits in (DecodeLimits(pixels=64 * 48 - 1), DecodeLimits(side=63)):
        with pytest.raises(ImageTooLarge, match="64 x 48"):
            decoded(data, limits)


def test_too_large_comes_before_broken() -> None:
    """The size is checked before decoding: an image both too large and truncated is reported as too large."""
    data = saved(noise(), "PNG")
    with pytest.raises(ImageTooLarge):
        decoded(data[: len(data) // 2], DecodeLimits(pixels=100))


def test_the_limits_apply_to_tiles() -> None:
    """A TIFF cannot hide a huge image in one tile of a small one: the whole tile is decoded."""
    tags = {256: 10, 257: 10, 258: 8, 259: 8, 262: 1, 277: 1, 322: 512, 323: 512}
    data = tiff(tags, zlib.compress(bytes(512 * 512)))
    assert decoded(data, LIMITS).size == (10, 10)
    with pytest.raises(ImageTooLarge):
        decoded(data, DecodeLimits(pixels=100_000))

"""No file costs more than 2 seconds and 500 MB, and no honest one is mistaken for hostile."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src.errors import BrokenImage, ImageTooLarge, UnsupportedImage
from src.stages.decode import DecodeLimits, Enough, decode_image
from src.stages.decode.formats import avif
from tests.cost import cost_of
from tests.files import saved
from tests.hostile import HOSTILE, bmp, chunk, gif, jpeg, png, segment

LIMITS = DecodeLimits()
# They cost little: nothing has to be refused.
HARMLESS = {
    "jpeg: empty segments behind the pixels, and no end",
    "jpeg: codes behind the last pixel",
    "jpeg: no end behind 64 megapixels",
    "png: exif of 65,535 tags",
    "png: 37 megapixels of 4 x 16 bits",
    "png: 64 megapixels, interlaced",
    "tiff: directory that follows itself",
    "tiff: the same jpeg strip again and again",
    "webp: 100,000 frames",
    "webp: a million unknown chunks",
}


def shades(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return an image with soft shades."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_costs_little(name: str) -> None:
    """A file that is built to be slow or large is refused, or decoded within 2 seconds and 500 MB."""
    data, outcome = HOSTILE[name](), "decoded"

    def decode() -> None:
        nonlocal outcome
        try:
            decode_image(data, LIMITS)
        except (BrokenImage, ImageTooLarge, UnsupportedImage) as exc:
            outcome = exc.message

    cost = cost_of(decode)
    assert cost.seconds < 2
    assert cost.bytes < 500_000_000
    assert (outcome == "decoded") == (name in HARMLESS), outcome


# What honest writers make


@pytest.mark.parametrize(
    "made",
    [
        lambda: jpeg(640, 480, progressive=True),
        lambda: jpeg(64, 48, before=segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65_000)) * 300),
        lambda: jpeg(64, 48, before=segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)) + b"\xff" * 500),
        lambda: jpeg(64, 48, restart_marker_blocks=1),
        lambda: jpeg(64, 48, before=segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0") * 2),
        lambda: png(64, 48, bytes(193 * 48), before=chunk(b"tEXt", b"Software\0" + b"x" * 1_000_000)),
        lambda: png(64, 48, bytes(193 * 48), before=chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(3_000_000)))),
        lambda: png(64, 48, bytes(193 * 48), before=chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(3_000_000)))),
        lambda: gif(b"!\xfe" + (b"\xff" + b"x" * 255) * 4000 + b"\0"),
        lambda: saved(shades(300, 200), "GIF", save_all=True, append_images=[shades(300, 200).rotate(90)] * 20),
        lambda: saved(shades(300, 200), "PNG", save_all=True, append_images=[shades(300, 200).rotate(90)] * 20),
        lambda: saved(shades(300, 200), "WEBP", save_all=True, append_images=[shades(300, 200).rotate(90)] * 20),
        lambda: saved(shades(300, 200), "AVIF", save_all=True, append_images=[shades(300, 200)] * 3, speed=10),
        lambda: saved(shades(2000, 1500, "RGBA"), "AVIF", speed=10),
        lambda: saved(shades(16, 20_000), "TIFF", compression="tiff_lzw", strip_size=1),
        lambda: saved(shades(300, 200), "TIFF", compression="jpeg"),
        lambda: saved(shades(300, 200), "TIFF", compression="tiff_lzw", big_tiff=True),
        lambda: bmp(4, 2, b"\x04\x07\0\0\x02\x01\x02\x02\0\1"),
    ],
)
def test_an_honest_file_is_decoded(made: Callable[[], bytes]) -> None:
    """Progressive images, large profiles and texts, animations, many strips, run-length codes: all are decoded."""
    image = decode_image(made(), LIMITS)
    assert image.raster.size == (image.width, image.height)


def test_run_length_codes_of_a_bmp() -> None:
    """The runs of a small BMP become the pixels that they encode, the last row first."""
    image = decode_image(bmp(4, 2, b"\x04\x07\0\0\x02\x01\x02\x02\0\1"), LIMITS).raster
    assert np.asarray(image)[..., 0].tolist() == [[1, 1, 2, 2], [7, 7, 7, 7]]


# Large images


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "L", {"progressive": True}),
        ("PNG", "RGBA", {"compress_level": 1}),
        ("PNG", "P", {"compress_level": 1}),
        ("GIF", "P", {}),
        ("BMP", "1", {}),
        ("TIFF", "RGBA", {"compression": "tiff_lzw"}),
        ("TIFF", "F", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", "I;16", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_64_megapixels_are_decoded_within_bounds(name: str, mode: str, options: dict[str, Any]) -> None:
    """The largest image of every common format and mode takes no more than 500 MB, rotated too."""
    if name in {"JPEG", "PNG"}:
        exif = Image.Exif()
        exif[0x0112] = 6
        options |= {"exif": exif}
    data = saved(Image.new(mode, (8_200, 7_800)), name, **options)
    image = None

    def decode() -> None:
        nonlocal image
        image = decode_image(data, LIMITS)

    cost = cost_of(decode)
    assert image is not None
    assert (image.width, image.height) == ((7_800, 8_200) if "exif" in options else (8_200, 7_800))
    assert cost.seconds < 2
    assert cost.bytes < 500_000_000


@pytest.mark.parametrize("name", ["WEBP", "AVIF"])
def test_decoders_that_need_more_memory_accept_fewer_pixels(name: str) -> None:
    """WebP and AVIF need more memory per pixel: at most 28 megapixels are accepted, and the error says so."""
    options = {"WEBP": {"method": 0}, "AVIF": {"speed": 10}}[name]
    data = saved(Image.new("RGB", (5_600, 5_000)), name, **options)
    cost = cost_of(lambda: decode_image(data, LIMITS))
    assert cost.seconds < 2
    assert cost.bytes < 500_000_000
    data = saved(Image.new("RGB", (5_600, 5_001)), name, **options)
    with pytest.raises(ImageTooLarge, match=f"a {name} file of this kind may have at most 28000000"):
        decode_image(data, LIMITS)


def test_a_large_progressive_jpeg_is_decoded_at_a_reduced_size() -> None:
    """All coefficients of 64 megapixels fit into memory with a reduced image, but not with a full one."""
    data = jpeg(8_000, 8_000, progressive=True, subsampling=0)
    assert decode_image(data, LIMITS, Enough(512, 1024)).raster.size == (2_000, 2_000)
    with pytest.raises(ImageTooLarge, match="baseline JPEG"):
        decode_image(data, LIMITS)


# The sequence headers of AVIF


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("size", [(64, 48), (333, 777), (2000, 1000)])
def test_the_size_of_a_coded_image_is_read(mode: str, frames: int, size: tuple[int, int]) -> None:
    """The sequence header of every coded image has its size, in still images and videos."""
    more = {"save_all": True, "append_images": [Image.new(mode, size)] * (frames - 1)} if frames > 1 else {}
    data = saved(Image.new(mode, size), "AVIF", speed=10, **more)
    starts = [start for start, _ in avif.pieces(data)]
    assert len(starts) == (2 if mode == "RGBA" else 1) * (2 if frames > 1 else 1)
    assert {avif._coded_pixels(data[start:]) for start in starts} == {size[0] * size[1]}


def test_a_sequence_header_with_timing_is_read() -> None:
    """Timing, decoder model and operating points before the size are skipped bit by bit."""
    bits = "000" + "0" + "0"  # profile, moving image, full header
    bits += "1" + f"{1:032b}{30:032b}" + "1" + "00101" + "1" + f"{9:05b}" + f"{1:032b}{9:05b}{9:05b}"
    bits += "1" + f"{1:05b}"  # display delays; two operating points
    bits += f"{0:012b}{9:05b}1" + "1" + f"{5:010b}{6:010b}0" + "1" + "0011"
    bits += f"{0:012b}{4:05b}" + "0" + "0"
    bits += f"{9:04b}{8:04b}" + f"{640 - 1:010b}{480 - 1:09b}"
    header = int(bits.ljust(-len(bits) % 8 + len(bits), "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    obu = b"\x12\0" + b"\x0a" + bytes([len(header)]) + header
    assert avif._coded_pixels(obu) == 640 * 480
    assert avif._coded_pixels(b"\x08" + header) == 640 * 480
    assert avif._coded_pixels(b"\x12\0" * 20) == avif._coded_pixels(b"") == 0


def test_a_box_may_have_a_long_size_or_extend_to_the_end() -> None:
    """A size of 64 bits, and 0 for the rest, are supported; one that is shorter than the header is refused."""
    long, rest = struct.pack(">I4sQ", 1, b"free", 20) + b"abcd", struct.pack(">I4s", 0, b"mdat") + b"efgh"
    boxes = [(kind, bytes(box)) for kind, box in avif.boxes(memoryview(long + rest))]
    assert boxes == [(b"free", b"abcd"), (b"mdat", b"efgh")]
    with pytest.raises(ValueError, match="shorter than its head"):
        list(avif.boxes(memoryview(struct.pack(">I4s", 7, b"free"))))
    with pytest.raises(ValueError, match="more than 20000 boxes"):
        list(avif.boxes(memoryview(struct.pack(">I4s", 8, b"free") * 30_000)))

"""Base64 and image decoding: every accepted format and mode comes out as the same upright RGB picture."""

import base64
import re
import struct
import time
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import skimage
from PIL import Image

from src.errors import BrokenImage, ImageTooLarge, UnsupportedImage
from src.stages.decode import DecodeLimits, accepted_formats, decode_base64, decode_image
from tests.cost import cost_of
from tests.hostile import HOSTILE

Pixels: TypeAlias = npt.NDArray[np.uint8]

LIMITS: Final = DecodeLimits()
CHELSEA: Final = Path(skimage.__file__).parent / "data" / "chelsea.png"
SHARED: Final = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not on this machine")
each_format = pytest.mark.parametrize("name", accepted_formats())

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
    picture = decode_image(data, limits)
    assert (picture.width, picture.height) == picture.image.size
    return picture.image


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


def test_photo_of_a_cat_is_recognised_in_every_format() -> None:
    """A real photograph survives base64 and each accepted format with small differences only."""
    with Image.open(CHELSEA) as photo:
        small = photo.convert("RGB").resize((112, 75))
    for name in accepted_formats():
        text = base64.b64encode(saved(small, name)).decode()
        result = decoded(decode_base64(text), LIMITS)
        assert mean_difference(result, np.asarray(small)) < (25 if name == "GIF" else 4), name


# Formats, modes and orientations


def case_table() -> list[tuple[str, str, int]]:
    """List every format with every mode it stores and every orientation it can carry."""
    return [
        (name, mode, orientation)
        for name in accepted_formats()
        for mode in STORABLE[name]
        for orientation in ((1,) if name in WITHOUT_EXIF else range(1, 9))
    ]


@pytest.mark.parametrize(("name", "mode", "orientation"), case_table())
def test_every_format_mode_and_orientation_gives_the_same_picture(name: str, mode: str, orientation: int) -> None:
    """A picture stored in any mode and turned any way comes out upright, in RGB, with its own colors."""
    picture = in_mode(as_stored(QUADRANTS, orientation), mode)
    result = decoded(saved(picture, name, orientation), LIMITS)
    expected = expected_quadrants(mode)
    assert (result.mode, result.size) == ("RGB", (64, 32))
    assert mean_difference(result, expected) < 4
    if name not in LOSSY and mode != "YCbCr":
        assert greatest_difference(result, expected) <= 1


def test_the_orientations_are_told_apart() -> None:
    """The test picture differs between all eight orientations, so that no wrong turn can pass for a right one."""
    for mode in ("1", "L", "RGB"):
        turned = [in_mode(as_stored(QUADRANTS, orientation), mode) for orientation in range(1, 9)]
        assert len({(picture.size, picture.tobytes()) for picture in turned}) == 8


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_orientation_out_of_range_counts_as_upright(orientation: int) -> None:
    """An orientation number that EXIF does not define leaves the picture as it is stored."""
    result = decoded(saved(in_mode(QUADRANTS, "RGB"), "PNG", orientation), LIMITS)
    assert greatest_difference(result, COLORS[QUADRANTS]) == 0


def test_big_endian_16_bit_tiff() -> None:
    """A 16-bit gray TIFF in Motorola byte order is read like one in Intel byte order."""
    data = saved(Image.fromarray((GRAYS[QUADRANTS] * np.uint16(257)).astype(">u2")), "TIFF")
    assert data.startswith(b"MM")
    assert greatest_difference(decoded(data, LIMITS), expected_quadrants("L")) == 0


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_by_its_full_range(name: str) -> None:
    """White in 16 bits is 65535 even when the picture has nothing brighter than a dark gray."""
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
def test_white_of_32_bit_gray_is_the_customary_one(values: npt.NDArray[Any], expected: list[int]) -> None:
    """Integers and floats are scaled to the first customary white level; NaN and negative values are black."""
    assert gray_row(saved(Image.fromarray(values[np.newaxis]), "TIFF")) == expected


@pytest.mark.parametrize(("bits", "white"), [(8, 2**8 - 1), (16, 2**16 - 1), (32, 2**32 - 1)])
def test_unsigned_gray_tiff_of_every_depth(bits: int, white: int) -> None:
    """An unsigned gray TIFF shows 0 as black, the greatest number as white and 2/3 of it as light gray."""
    values = np.array([0, white // 3 * 2, white], f"<u{bits // 8}")
    assert gray_row(tiff({256: 3, 257: 1, 258: bits, 262: 1, 277: 1}, values.tobytes())) == [0, 170, 255]


def test_12_bit_tiff() -> None:
    """White in a 12-bit TIFF, as microscopes and X-ray detectors write it, is 4095."""
    rows = bytes.fromhex("fff000aaa555")
    assert gray_row(tiff({256: 4, 257: 1, 258: 12, 262: 1, 277: 1}, rows)) == [255, 0, 170, 85]


@pytest.mark.parametrize(("bits", "white"), [(8, 2**8 - 1), (16, 2**16 - 1)])
def test_tiff_where_white_is_zero(bits: int, white: int) -> None:
    """A TIFF that declares 0 to be white (X-ray scans do) is not shown as its negative."""
    values = np.array([0, white // 3, white], f"<u{bits // 8}")
    assert gray_row(tiff({256: 3, 257: 1, 258: bits, 262: 0, 277: 1}, values.tobytes())) == [255, 170, 0]


def test_cmyk_jpeg_as_adobe_writes_it() -> None:
    """The inverted inks of an Adobe CMYK JPEG are put right: no ink is white and full black is black."""
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, 16:, 3] = 255
    data = saved(Image.frombytes("CMYK", (32, 16), inks.tobytes()), "JPEG")
    assert b"Adobe" in data
    result = decoded(data, LIMITS)
    assert result.getpixel((4, 8)) == (255, 255, 255)
    assert result.getpixel((28, 8)) == (0, 0, 0)


# Transparency


@pytest.mark.parametrize(
    ("name", "mode"), [("PNG", "RGBA"), ("TIFF", "RGBA"), ("WEBP", "RGBA"), ("PNG", "LA"), ("TIFF", "LA")]
)
def test_every_shade_and_opacity_is_laid_on_white(name: str, mode: str) -> None:
    """Each of the 256 shades at each of the 256 opacities is mixed with white exactly."""
    opacity, shade = np.indices((256, 256))
    expected = np.rint((shade * opacity + 255 * (255 - opacity)) / 255).astype(np.uint8)
    bands = [shade] * (len(mode) - 1) + [opacity]
    picture = Image.merge(mode, [Image.fromarray(band.astype(np.uint8)) for band in bands])
    options = {"lossless": True, "exact": True} if name == "WEBP" else {}
    result = decoded(saved(picture, name, **options), LIMITS)
    assert greatest_difference(result, np.repeat(expected[..., np.newaxis], 3, axis=2)) == 0


@pytest.mark.parametrize("name", [name for name in ("AVIF", "HEIF") if name in accepted_formats()])
def test_lossy_transparency_is_laid_on_white(name: str) -> None:
    """A quarter-opaque red becomes a light red in the lossy formats with an alpha channel too."""
    result = decoded(saved(Image.new("RGBA", (32, 32), (255, 0, 0, 64)), name), LIMITS)
    assert mean_difference(result, np.full((32, 32, 3), (255, 191, 191), np.uint8)) < 4


def test_palette_with_opacities_in_png() -> None:
    """Every palette entry of a PNG has its own opacity."""
    picture = in_mode(QUADRANTS, "P")
    result = decoded(saved(picture, "PNG", transparency=bytes([0, 128, 255, 255])), LIMITS)
    expected = np.array([(255, 255, 255), (142, 227, 157), (40, 60, 210), (240, 240, 120)], np.uint8)[QUADRANTS]
    assert greatest_difference(result, expected) == 0


def test_palette_with_alpha_in_tiff() -> None:
    """A TIFF with a palette and an alpha channel (mode PA) is laid on white."""
    picture = in_mode(QUADRANTS, "PA")
    picture.putalpha(128)
    result = decoded(saved(picture, "TIFF"), LIMITS)
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


# Several pictures in one file


@pytest.mark.parametrize("name", [name for name in accepted_formats() if name not in ("JPEG", "BMP")])
def test_only_the_first_frame_counts(name: str) -> None:
    """Of an animation or a file of several pages the first picture is decoded."""
    first, second = (Image.new("RGB", (32, 16), color) for color in ("red", "blue"))
    data = saved(first, name, save_all=True, append_images=[second])
    with Image.open(BytesIO(data)) as written:
        assert getattr(written, "n_frames", 1) == 2
    assert mean_difference(decoded(data, LIMITS), np.full((16, 32, 3), (255, 0, 0), np.uint8)) < 4


def test_multi_picture_jpeg_counts_as_jpeg() -> None:
    """An MPO file, as cameras with two lenses write it, is decoded as its first JPEG."""
    first, second = (Image.new("RGB", (32, 16), color) for color in ("red", "blue"))
    data = saved(first, "MPO", save_all=True, append_images=[second])
    result = decoded(data, LIMITS)
    assert result.mode == "RGB"
    assert mean_difference(result, np.full((16, 32, 3), (255, 0, 0), np.uint8)) < 4


# Refusals


@each_format
def test_half_a_file_is_broken(name: str) -> None:
    """A file of which the second half is missing is refused as damaged."""
    data = saved(noise(), name)
    assert decoded(data, LIMITS).size == (64, 48)
    with pytest.raises(BrokenImage, match=f"damaged {name} file"):
        decoded(data[: len(data) // 2], LIMITS)


@each_format
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow says so of a TIFF directory, besides refusing it
def test_signature_followed_by_garbage_is_broken(name: str) -> None:
    """A file that only begins like an accepted format is refused as damaged."""
    rng = np.random.default_rng(0)
    # Small numbers: larger ones would announce a huge GIF, which is refused as too large instead.
    garbage = rng.integers(0, 8, 500, dtype=np.uint8).tobytes()
    for rest in (b"", bytes(500), garbage):
        with pytest.raises(BrokenImage, match=f"damaged {name} file"):
            decoded(SIGNATURES[name] + rest, LIMITS)


@each_format
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Metadata Warning", "ignore:Truncated File Read")
def test_damaged_bytes_never_raise_anything_else(name: str) -> None:
    """A file with overwritten bytes gives a picture or one of the three refusals, and never another exception."""
    rng = np.random.default_rng(1)
    intact = np.frombuffer(saved(noise(), name, 6), np.uint8)
    for _ in range(40):
        damaged = intact.copy()
        damaged[rng.integers(12, min(len(damaged), 400), 4)] = rng.integers(0, 256, 4)
        outcome(damaged.tobytes())


def test_the_reason_of_a_refusal_reads_well() -> None:
    """The message of a damaged file names no Python object and repeats no word."""
    with pytest.raises(BrokenImage) as caught:
        decoded(SIGNATURES["PNG"] + bytes(100), LIMITS)
    assert "BytesIO" not in caught.value.message
    assert not re.search(r"\b(\w+) \1\b", caught.value.message)


# Not TIFF, whose file is itself an EXIF block, nor AVIF, whose library refuses the file: there is no picture then.
@pytest.mark.parametrize("name", [name for name in accepted_formats() if name not in (*WITHOUT_EXIF, "TIFF", "AVIF")])
@pytest.mark.parametrize(
    "damage", [b"XX\xff\xff\xff\xff\xff\xff", b"II*\x00\xff\xff\xff\xff", b"II*\x00\x00\x00\x00\x00"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # the damage at hand: in service it is only logged
def test_damaged_exif_does_not_cost_the_picture(name: str, damage: bytes) -> None:
    """A picture whose EXIF block is unreadable is decoded all the same."""
    data = with_damaged_exif(name, damage)
    assert mean_difference(decoded(data, LIMITS), COLORS[QUADRANTS]) < 4


# Limits


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
def test_size_is_judged_by_the_header(name: str) -> None:
    """A small file that announces a huge picture is refused at once, with both sizes in the message."""
    data = huge_headers()[name]
    start = time.perf_counter()
    with pytest.raises(ImageTooLarge, match=r"50000 x 50000 pixels.*64000000.*20000"):
        decoded(data, LIMITS)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("side", [8_001, 9_500, 13_400, 20_000])
@pytest.mark.parametrize("name", ["PNG", "GIF", "BMP", "TIFF"])
def test_what_pillow_would_only_warn_of_is_an_error(name: str, side: int) -> None:
    """Pillow warns from 89 megapixels and refuses from 179; here all above 64 are refused, without a warning."""
    data = huge_headers(side)[name]
    with pytest.raises(ImageTooLarge, match=f"{side} x {side} pixels"):
        decoded(data, LIMITS)


def test_a_webp_that_announces_too_much_is_refused_before_its_canvas_is_made() -> None:
    """The canvas of 268 megapixels, which would take 2 GB, is never touched."""
    data = HOSTILE["webp: canvas of 268 megapixels"]()

    def decode() -> None:
        with pytest.raises(ImageTooLarge, match="16384 x 16384"):
            decode_image(data, LIMITS)

    assert cost_of(decode).bytes < 50_000_000


@each_format
def test_limits_are_inclusive(name: str) -> None:
    """A picture exactly as large as the limits is decoded; one pixel less, in all or a side, refuses it."""
    data = saved(noise(), name)
    assert decoded(data, DecodeLimits(pixels=64 * 48, side=64)).size == (64, 48)
    for limits in (DecodeLimits(pixels=64 * 48 - 1), DecodeLimits(side=63)):
        with pytest.raises(ImageTooLarge, match="64 x 48"):
            decoded(data, limits)


def test_too_large_comes_before_broken() -> None:
    """The size is judged before anything is decoded: a picture both too large and cut off is too large."""
    data = saved(noise(), "PNG")
    with pytest.raises(ImageTooLarge):
        decoded(data[: len(data) // 2], DecodeLimits(pixels=100))


def test_tiles_larger_than_the_picture_count() -> None:
    """A TIFF cannot hide a huge picture in one tile of a small one: decoding needs memory for the whole tile."""
    tags = {256: 10, 257: 10, 258: 8, 259: 8, 262: 1, 277: 1, 322: 512, 323: 512}
    data = tiff(tags, zlib.compress(bytes(512 * 512)))
    assert decoded(data, LIMITS).size == (10, 10)
    with pytest.raises(ImageTooLarge):
        decoded(data, DecodeLimits(pixels=100_000))


# Collections of pictures beside the checkout


@needs_shared
@pytest.mark.parametrize("path", sorted((SHARED / "broken").rglob("*.*")), ids=lambda path: path.name)
def test_broken_collection(path: Path) -> None:
    """Every file of the collections of damaged pictures is decoded or refused within 2 seconds."""
    start = time.perf_counter()
    outcome(path.read_bytes())
    assert time.perf_counter() - start < 2


@needs_shared
@pytest.mark.parametrize("path", sorted((SHARED / "broken" / "pngsuite").glob("*.png")), ids=lambda path: path.name)
def test_png_suite(path: Path) -> None:
    """PngSuite's valid files are decoded and its invalid ones (x...) are refused."""
    result = outcome(path.read_bytes())
    assert (result is None) == path.name.startswith("x")


@needs_shared
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", ["Landscape", "Portrait"])
def test_orientation_collection(shape: str, orientation: int) -> None:
    """The same photograph stored in each orientation by another program comes out the same."""
    upright = decoded((SHARED / "exif" / f"{shape}_1.jpg").read_bytes(), LIMITS)
    result = decoded((SHARED / "exif" / f"{shape}_{orientation}.jpg").read_bytes(), LIMITS)
    assert result.size == upright.size
    assert (result.width > result.height) == (shape == "Landscape")
    assert mean_difference(result, np.asarray(upright)) < 4


# Making and comparing pictures


def as_stored(upright: Pixels, orientation: int) -> Pixels:
    """Return the rows of ``upright`` as a file with ``orientation`` stores them, as table 6 of EXIF 2.3 defines it.

    The comments say where in the upright picture the first stored row and the first stored column are.
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
    """Return a picture of mode ``mode`` with the color or gray of each quadrant number."""
    gray = GRAYS[quadrants]
    size = quadrants.shape[1], quadrants.shape[0]
    if mode in ("1", "L", "LA"):
        return Image.fromarray(gray).convert("L").point(lambda v: 255 * (v > 127) if mode == "1" else v).convert(mode)
    if mode in ("P", "PA"):
        picture = Image.frombytes("P", size, quadrants.tobytes())
        picture.putpalette(COLORS.tobytes())
        return picture.convert(mode)
    if mode == "CMYK":
        inks = np.concatenate([255 - COLORS[quadrants], np.zeros((*quadrants.shape, 1), np.uint8)], axis=2)
        return Image.frombytes("CMYK", size, inks.tobytes())
    deep = {"I;16": gray * np.uint16(257), "I": gray * np.int32(257), "F": gray / np.float32(255)}
    return Image.fromarray(deep[mode]) if mode in deep else Image.fromarray(COLORS[quadrants]).convert(mode)


def expected_quadrants(mode: str) -> Pixels:
    """Return the RGB pixels of the upright test picture after it was stored in ``mode``."""
    if mode == "1":
        gray = np.where(GRAYS > 127, 255, 0).astype(np.uint8)[QUADRANTS]
    elif mode in ("L", "LA", "I;16", "I", "F"):
        gray = GRAYS[QUADRANTS]
    else:
        return COLORS[QUADRANTS]
    return np.repeat(gray[..., np.newaxis], 3, axis=2)


def saved(picture: Image.Image, name: str, orientation: int = 1, **options: Any) -> bytes:
    """Return ``picture`` as a file of format ``name``, with an EXIF block unless it is stored upright."""
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    file = BytesIO()
    picture.save(file, name, **{**OPTIONS.get(name, {}), **options})
    return file.getvalue()


def with_damaged_exif(name: str, damage: bytes) -> bytes:
    """Return the upright test picture with an EXIF block that begins with ``damage``."""
    picture = in_mode(QUADRANTS, "RGB")
    if name == "PNG":  # by hand: its chunks have check sums, and those are to be right
        rows = b"".join(b"\x00" + row.tobytes() for row in COLORS[QUADRANTS])
        return png(64, 32, 8, 2, chunk(b"eXIf", damage), rows)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    data = saved(picture, name, exif=exif.tobytes())
    start = data.rindex(b"MM\x00*", 0, data.index(b"a description"))
    return data[:start] + damage + data[start + len(damage) :]


def noise() -> Image.Image:
    """Return a picture that no format can compress much."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, color: int, chunks: bytes, rows: bytes) -> bytes:  # noqa: PLR0913, PLR0917
    """Return a PNG file with any header, ``chunks`` before the picture, and filtered ``rows``."""
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
    """Return the picture in ``data``, or None where it is refused as it should be."""
    try:
        result = decoded(data, LIMITS)
    except (UnsupportedImage, BrokenImage, ImageTooLarge):
        return None
    assert result.mode == "RGB"
    return result


def mean_difference(result: Image.Image, expected: Pixels) -> float:
    """Return the mean absolute difference of two pictures of the same size."""
    return float(np.abs(np.asarray(result).astype(np.int16) - expected).mean())


def greatest_difference(result: Image.Image, expected: Pixels) -> int:
    """Return the greatest absolute difference of two pictures of the same size."""
    return int(np.abs(np.asarray(result).astype(np.int16) - expected).max())

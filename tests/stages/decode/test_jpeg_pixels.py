"""JPEG: the pixels are libjpeg-turbo's, and a file with missing or wrong pixels is broken."""

import random
from collections.abc import Callable
from io import BytesIO
from itertools import product
from typing import Any, Final

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from src.errors import BrokenImage, UnsupportedImage
from src.stages.decode import DecodeLimits, Enough, decode_image
from src.stages.decode.formats import jpeg, jpeg_rest
from tests.files import saved
from tests.hostile import segment
from tests.places import PACKAGED_PHOTOS

LIMITS: Final = DecodeLimits()
END: Final = b"\xff\xd9"
WAYS: Final[tuple[dict[str, Any], ...]] = (
    {"quality": 75},
    {"quality": 92, "subsampling": 0, "optimize": True},
    {"quality": 90, "subsampling": 1, "restart_marker_rows": 4},
    {"quality": 85, "progressive": True},
    {"quality": 95, "progressive": True, "subsampling": 0, "restart_marker_blocks": 50},
)


def photo(number: int = 0, width: int = 320, mode: str = "RGB", **options: Any) -> bytes:
    """Return a photo as a JPEG file."""
    with Image.open(PACKAGED_PHOTOS[number % len(PACKAGED_PHOTOS)]) as image:
        small = image.convert(mode).resize((width, width * image.height // image.width))
    return saved(small, "JPEG", **options)


def pixels(data: bytes, enough: Enough | None = None) -> np.ndarray[Any, Any]:
    """Decode ``data``."""
    return np.asarray(decode_image(data, LIMITS, enough).raster)


def scan_of(data: bytes) -> int:
    """Return where the coded pixels begin."""
    start = data.index(b"\xff\xda")
    return start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("ways", WAYS, ids=str)
def test_intact_photos_equal_pillows_pixels(mode: str, ways: dict[str, Any]) -> None:
    """Every mode, sampling, quality and kind of scan is decoded bit for bit as in Pillow, at any size."""
    ways = ways if mode != "CMYK" else {key: value for key, value in ways.items() if key != "subsampling"}
    for number in range(4):
        data = photo(number, 641, mode, **ways)
        for scale in (1, 2, 4, 8):
            with Image.open(BytesIO(data)) as image:
                side = min(image.size) // scale
                image.draft(image.mode, (image.width // scale, image.height // scale))
                expected = np.asarray(image.convert("RGB"))
            assert np.array_equal(pixels(data, Enough(side, side) if scale > 1 else None), expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_smallest_images_are_decoded_whole(mode: str) -> None:
    """Sizes at which a reduced image has as many pixels as the full one do not confuse the decoder."""
    rng = np.random.default_rng(0)
    for width, height in product(range(1, 10), repeat=2):
        noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)
        file = saved(noise, "JPEG", quality=95)
        with Image.open(BytesIO(file)) as image:
            assert np.array_equal(pixels(file), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("factors", [0x11, 0x12, 0x21, 0x22, 0x13, 0x31, 0x14, 0x41, 0x24, 0x42])
def test_every_sampling_is_decoded(factors: int) -> None:
    """Samplings that simplejpeg has no name for are decoded as in Pillow."""
    file = photo(quality=90, subsampling=0)
    at = file.index(b"\xff\xc0") + 11
    data = (
        file[:at] + bytes([factors]) + file[at + 1 : scan_of(file)] + bytes(60_000) + END
    )  # gray, as long as it takes
    with Image.open(BytesIO(data)) as image:
        expected = np.asarray(image)
    try:
        assert np.array_equal(pixels(data), expected)
    except BrokenImage as exc:
        assert "extraneous" in exc.message  # noqa: PT017 - that is what the zeros behind the last block are


def test_a_lossless_jpeg_is_decoded_whole() -> None:
    """It cannot be decoded at a reduced size, and is not, whatever is enough."""
    with Image.open(PACKAGED_PHOTOS[0]) as image:
        stored = np.asarray(image.convert("RGB"))
    data = bytes(imagecodecs.jpeg8_encode(stored, lossless=True))
    assert np.array_equal(pixels(data), stored)
    assert np.array_equal(pixels(data, Enough(30, 30)), stored)


# Damage


def _insert(data: bytes, at: int, inserted: bytes) -> bytes:
    return data[:at] + inserted + data[at:]


DAMAGES: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "line feeds became two characters": lambda d, _: d[: scan_of(d)] + d[scan_of(d) :].replace(b"\n", b"\r\n"),
    "cut in half, and ended": lambda d, _: d[: len(d) // 2] + END,
    "text of chunked transfer inside": lambda d, _: b"\r\n5b4\r\n".join(
        d[at : at + 1460] for at in range(0, len(d), 1460)
    ),
    "read as UTF-8": lambda d, _: d[: scan_of(d)] + d[scan_of(d) :].decode("utf8", "replace").encode(),
    "zeros from somewhere on": lambda d, at: d[:at] + bytes(len(d) - at - 2) + END,
    "zeros from somewhere on, and no end": lambda d, at: d[:at] + bytes(len(d) - at + 5000),
    "a block of zeros": lambda d, at: d[:at] + bytes(512) + d[at + 512 :],
    "a block is missing": lambda d, at: d[:at] + d[at + 512 :],
}


NOTICED: Final = tuple(DAMAGES)[:6]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("ways", WAYS, ids=str)
def test_corrupt_pixels_are_never_accepted(damage: str, ways: dict[str, Any]) -> None:
    """Damage that the decoder detects is refused, although Pillow returns garbage."""
    rng, refused, wrong = random.Random(damage), 0, 0  # noqa: S311 - the same in every run
    for number in range(8):
        data = photo(number, **ways)
        harmed = DAMAGES[damage](data, rng.randrange(scan_of(data), len(data) - 1500))
        try:
            wrong += not np.array_equal(pixels(harmed), pixels(data))
        except BrokenImage:
            refused += 1
    assert wrong <= (0 if damage in NOTICED else 4)  # the decoder finds its way back sometimes, and nobody can tell
    assert refused > 0


# Warnings that leave every pixel as it is


JUNK: Final = {
    "a byte": b"\x2a",
    "zeros": bytes(300),
    "text": b"Made by a camera of some maker, 2009. " * 3,
    "noise": np.random.default_rng(3).integers(0, 255, 500, np.uint8).tobytes(),
}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("ways", [way for way in WAYS if "progressive" not in way], ids=str)
def test_junk_after_the_last_pixel_is_harmless(junk: str, ways: dict[str, Any]) -> None:
    """Bytes that some cameras leave before the end marker do not prevent decoding."""
    for number in range(4):
        data = photo(number, **ways)
        assert np.array_equal(pixels(data[:-2] + JUNK[junk] + END), pixels(data))


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("ways", WAYS, ids=str)
def test_junk_between_segments_is_harmless(junk: str, ways: dict[str, Any]) -> None:
    """Bytes before the pixels that belong to no segment are skipped."""
    data = photo(**ways)
    harmed = data
    for marker in (b"\xff\xdb", b"\xff\xc4", b"\xff\xda"):
        at = harmed.index(marker)
        harmed = _insert(harmed, at, JUNK[junk])
    assert np.array_equal(pixels(harmed), pixels(data))


def test_strange_values_in_segments_are_harmless() -> None:
    """An unknown JFIF version or Adobe transform, or useless scan parameters, only cause warnings."""
    data = photo()
    version, parameters = data.index(b"JFIF\0") + 5, scan_of(data) - 3
    adobe = segment(0xEE, b"Adobe\0d\0\0\0\0\x07")
    for harmed in (
        data[:version] + b"\x07" + data[version + 1 :],
        data[:parameters] + bytes(3) + data[parameters + 3 :],
        _insert(data, 2, adobe),
    ):
        assert np.array_equal(pixels(harmed), pixels(data))
        with pytest.raises(BrokenImage):  # and damage behind them is still found
            pixels(harmed[: len(harmed) // 2] + END)


@pytest.mark.parametrize(
    "spoiled",
    [
        segment(0xE0, b"JFIF"),
        segment(0xE0, b"JFIF\0\1\1"),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"ICC_PROFILE\0\1"),
        segment(0xED, b"Photoshop 3.0\x008BIM"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\xff\xff"),
        segment(0xEE, b"Adobe"),
    ],
    ids=range(7),
)
def test_segments_that_are_too_short_are_harmless(spoiled: bytes) -> None:
    """Browsers ignore metadata that ends too early; Pillow refused the whole file."""
    data = photo()
    for at in (2, data.index(b"\xff\xda")):
        assert np.array_equal(pixels(_insert(data, at, spoiled)), pixels(data))


@pytest.mark.parametrize("numbers", [b"\1\1\1\1", b"\0\1", b"\1\2", b"\1\0", b"\2\1"])
def test_profiles_in_wrong_segments_are_harmless(numbers: bytes) -> None:
    """Two profiles, or segments with wrong numbers, leave the pixels as they are, without a profile."""
    data = photo()
    parts = (b"ICC_PROFILE\0" + numbers[at : at + 2] + bytes(200) for at in range(0, len(numbers), 2))
    harmed = _insert(data, 2, b"".join(segment(0xE2, part) for part in parts))
    assert np.array_equal(pixels(harmed), pixels(data))
    with pytest.raises(BrokenImage):
        pixels(harmed[: len(harmed) // 2] + END)


def test_a_thumbnail_is_not_taken_for_the_image() -> None:
    """Junk and strange values are tolerated as well where EXIF, with a thumbnail and Adobe's name, comes first."""
    data = photo()
    exif = segment(0xE1, b"Exif\0\0Adobe JFIF\0" + photo(width=32))
    adobe = segment(0xEE, b"Adobe\0d\0\0\0\0\x07")
    start = len(exif) + 20  # of the segments behind JFIF's
    plain = data[:2] + exif + data[2:]
    assert np.array_equal(pixels(plain[:-2] + JUNK["text"] + END), pixels(data))
    version, parameters = len(exif) + 2 + 9, plain.rindex(b"\xff\xda") + 11
    for harmed in (
        plain[:version] + b"\x07" + plain[version + 1 :],
        plain[:parameters] + bytes(3) + plain[parameters + 3 :],
        _insert(plain, start, adobe),
    ):
        assert np.array_equal(pixels(harmed), pixels(data))


def test_junk_after_a_large_photo_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there are too many codes to follow, the remaining bytes mostly distinguish junk from shifted pixels."""
    monkeypatch.setattr(jpeg_rest, "_MOST_BYTES", 1000)
    for number, ways in product(range(4), (way for way in WAYS if "progressive" not in way)):
        data = photo(number, **ways)
        for junk in (b"\x2a", b"Made by a camera."):
            assert np.array_equal(pixels(data[:-2] + junk + END), pixels(data))
        with pytest.raises(BrokenImage):
            pixels(DAMAGES["text of chunked transfer inside"](data, 0))


# No end


@pytest.mark.parametrize("ways", WAYS, ids=str)
def test_a_file_that_lacks_only_its_end_is_decoded(ways: dict[str, Any]) -> None:
    """Bytes missing after the last pixel are tolerated, as in browsers; a file without all pixels is broken."""
    data = photo(**ways)
    whole = pixels(data)
    assert np.array_equal(pixels(data[:-2]), whole)
    assert np.array_equal(pixels(data[:-1]), whole)
    for missing in (*range(3, 40), *range(40, len(data) - scan_of(data), 997)):
        try:
            assert np.array_equal(pixels(data[:-missing]), whole)
        except BrokenImage:
            continue
        assert missing < 8


def test_a_progressive_file_that_is_cut_between_scans_is_broken() -> None:
    """A file with only its first scans, which would be decoded coarsely, is refused."""
    for ways in (way for way in WAYS if "progressive" in way):
        data, at, cuts = photo(**ways), 0, 0
        while (at := data.find(b"\xff\xda", at + 1)) > 0:
            tables = data.rfind(b"\xff\xc4", 0, at)
            cut = tables if tables > 0 and data[tables + 2 : tables + 4] == (at - tables - 2).to_bytes(2, "big") else at
            with pytest.raises(BrokenImage):
                pixels(data[:cut])
            cuts += 1
        assert cuts > 5


@pytest.mark.parametrize(("scans", "complete"), [((1, 2, 3), True), ((1, 2), False), ((1, 1, 1), False), ((), False)])
def test_each_component_of_a_sequential_file_needs_a_scan(scans: tuple[int, ...], complete: bool) -> None:  # noqa: FBT001
    """A sequential file with one scan per component is complete only with the last of them."""
    frame = segment(0xC0, b"\x08\0\x08\0\x08\x03" + b"\x01\x11\0" + b"\x02\x11\0" + b"\x03\x11\0")
    coded = b"".join(segment(0xDA, bytes((1, component, 0, 0, 63, 0))) + b"\x12\x34\xff\0" for component in scans)
    assert jpeg.has_all_scans(b"\xff\xd8" + frame + coded) == complete


# Other kinds


def _late_height() -> bytes:
    data = photo()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + bytes(2) + data[at + 2 : -2] + b"\xff\xdc\0\4" + data[at : at + 2] + END


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (bytes(imagecodecs.jpeg8_encode(np.zeros((16, 16), np.uint16), bitspersample=12)), "12-bit"),
        (bytes(imagecodecs.ljpeg_encode(np.zeros((16, 16), np.uint16), bitspersample=16)), "16-bit lossless"),
        (bytes(imagecodecs.jpegls_encode(np.zeros((16, 16), np.uint8))), "JPEG-LS"),
        (photo().replace(b"\xff\xc0", b"\xff\xc5", 1), "hierarchical"),
        (segment(0xD8, b"")[:2] + segment(0xC0, b"\x08\0\x08\0\x08\x02" + bytes(6)) + bytes(9), "2 components"),
        (_late_height(), "stores its height after its pixels"),
        (photo().replace(b"\xff\xc0", b"\xff\xcb", 1), "lossless arithmetic-coded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_kinds_of_jpeg_are_named(data: bytes, name: str) -> None:
    """A JPEG file of another kind is not called damaged, and the message says what to send instead."""
    with pytest.raises(UnsupportedImage, match=name) as caught:
        decode_image(data, LIMITS)
    assert "send a " in caught.value.message

"""Every accepted format and mode comes out as the same upright RGB image."""

import base64
import re
import time
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import skimage
from PIL import Image

from src.errors import BrokenImage
from src.stages.decode import accepted_formats, decode_base64
from tests.stages.decode.making import (
    COLORS,
    LIMITS,
    LOSSY,
    QUADRANTS,
    SIGNATURES,
    STORABLE,
    WITHOUT_EXIF,
    as_stored,
    decoded,
    expected_quadrants,
    greatest_difference,
    in_mode,
    mean_difference,
    noise,
    outcome,
    saved,
    with_damaged_exif,
)

CHELSEA: Final = Path(skimage.__file__).parent / "data" / "chelsea.png"
SHARED: Final = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not on this machine")
each_format = pytest.mark.parametrize("name", accepted_formats())


def test_a_photo_survives_every_format() -> None:
    """A real photo survives base64 and each accepted format with only small differences."""
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
def test_every_format_mode_and_orientation_gives_the_same_image(name: str, mode: str, orientation: int) -> None:
    """An image stored in any mode and orientation is decoded upright, in RGB, with its own colors."""
    image = in_mode(as_stored(QUADRANTS, orientation), mode)
    result = decoded(saved(image, name, orientation), LIMITS)
    expected = expected_quadrants(mode)
    assert (result.mode, result.size) == ("RGB", (64, 32))
    assert mean_difference(result, expected) < 4
    if name not in LOSSY and mode != "YCbCr":
        assert greatest_difference(result, expected) <= 1


def test_each_orientation_is_applied() -> None:
    """The test image differs between all eight orientations, so no wrong turn can pass as a right one."""
    for mode in ("1", "L", "RGB"):
        turned = [in_mode(as_stored(QUADRANTS, orientation), mode) for orientation in range(1, 9)]
        assert len({(image.size, image.tobytes()) for image in turned}) == 8


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_undefined_orientations_are_ignored(orientation: int) -> None:
    """An orientation number that EXIF does not define leaves the image as stored."""
    result = decoded(saved(in_mode(QUADRANTS, "RGB"), "PNG", orientation), LIMITS)
    assert greatest_difference(result, COLORS[QUADRANTS]) == 0


# Several images in one file


@pytest.mark.parametrize("name", [name for name in accepted_formats() if name not in ("JPEG", "BMP")])
def test_only_the_first_frame_is_decoded(name: str) -> None:
    """The first image of an animation or a multi-page file is decoded."""
    first, second = (Image.new("RGB", (32, 16), color) for color in ("red", "blue"))
    data = saved(first, name, save_all=True, append_images=[second])
    with Image.open(BytesIO(data)) as written:
        assert getattr(written, "n_frames", 1) == 2
    assert mean_difference(decoded(data, LIMITS), np.full((16, 32, 3), (255, 0, 0), np.uint8)) < 4


def test_a_multi_image_jpeg_is_decoded_as_its_first_image() -> None:
    """An MPO file, as written by stereo cameras, is decoded as its first JPEG."""
    first, second = (Image.new("RGB", (32, 16), color) for color in ("red", "blue"))
    data = saved(first, "MPO", save_all=True, append_images=[second])
    result = decoded(data, LIMITS)
    assert result.mode == "RGB"
    assert mean_difference(result, np.full((16, 32, 3), (255, 0, 0), np.uint8)) < 4


# Refusals


@each_format
def test_half_a_file_is_broken(name: str) -> None:
    """A file whose second half is missing is refused as damaged."""
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
def test_damaged_bytes_are_decoded_or_refused(name: str) -> None:
    """A file with overwritten bytes gives an image or one of the three refusals, never another exception."""
    rng = np.random.default_rng(1)
    intact = np.frombuffer(saved(noise(), name, 6), np.uint8)
    for _ in range(40):
        damaged = intact.copy()
        damaged[rng.integers(12, min(len(damaged), 400), 4)] = rng.integers(0, 256, 4)
        outcome(damaged.tobytes())


def test_refusals_are_readable() -> None:
    """The message for a damaged file names no Python object and repeats no word."""
    with pytest.raises(BrokenImage) as caught:
        decoded(SIGNATURES["PNG"] + bytes(100), LIMITS)
    assert "BytesIO" not in caught.value.message
    assert not re.search(r"\b(\w+) \1\b", caught.value.message)


# Not TIFF, whose file is itself an EXIF block, nor AVIF, whose library refuses the file: there is no image then.
@pytest.mark.parametrize("name", [name for name in accepted_formats() if name not in (*WITHOUT_EXIF, "TIFF", "AVIF")])
@pytest.mark.parametrize(
    "damage", [b"XX\xff\xff\xff\xff\xff\xff", b"II*\x00\xff\xff\xff\xff", b"II*\x00\x00\x00\x00\x00"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # the damage at hand: in service it is only logged
def test_damaged_exif_is_ignored(name: str, damage: bytes) -> None:
    """An image whose EXIF block is unreadable is still decoded."""
    data = with_damaged_exif(name, damage)
    assert mean_difference(decoded(data, LIMITS), COLORS[QUADRANTS]) < 4


# Collections of images beside the checkout


@needs_shared
@pytest.mark.parametrize("path", sorted((SHARED / "broken").rglob("*.*")), ids=lambda path: path.name)
def test_broken_collection(path: Path) -> None:
    """Every file of the collections of damaged images is decoded or refused within 2 seconds."""
    start = time.perf_counter()
    outcome(path.read_bytes())
    assert time.perf_counter() - start < 2


@needs_shared
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", ["Landscape", "Portrait"])
def test_orientation_collection(shape: str, orientation: int) -> None:
    """The same photo stored in each orientation by another program is decoded to the same image."""
    upright = decoded((SHARED / "exif" / f"{shape}_1.jpg").read_bytes(), LIMITS)
    result = decoded((SHARED / "exif" / f"{shape}_{orientation}.jpg").read_bytes(), LIMITS)
    assert result.size == upright.size
    assert (result.width > result.height) == (shape == "Landscape")
    assert mean_difference(result, np.asarray(upright)) < 4

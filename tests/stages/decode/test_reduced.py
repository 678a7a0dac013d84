"""Large JPEG files are decoded at half, a quarter or an eighth of their size if that is enough."""

import numpy as np
import pytest
from PIL import Image

from src.errors import BrokenImage
from src.stages.decode import DecodeLimits, Enough, decode_image
from tests.files import saved

LIMITS = DecodeLimits()


def _file(width: int, height: int, name: str = "JPEG", orientation: int = 1, mode: str = "RGB") -> bytes:
    """Return an image with smooth shades, which decoders hardly change."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, name, quality=95, exif=exif)


@pytest.mark.parametrize(
    ("size", "enough", "expected"),
    [
        ((4000, 3000), Enough(512, 512), (1000, 750)),
        ((4000, 3000), Enough(512, 1024), (2000, 1500)),
        ((4000, 3000), Enough(100, 100), (500, 375)),
        ((1023, 1023), Enough(512, 512), (1023, 1023)),
        ((1024, 1024), Enough(512, 512), (512, 512)),
        ((4001, 2999), Enough(512, 512), (1001, 750)),
        ((9000, 600), Enough(512, 512), (9000, 600)),
        ((40, 30), Enough(512, 512), (40, 30)),
        ((4000, 3000), Enough(10**30, 10**30), (4000, 3000)),
    ],
    ids=str,
)
def test_no_side_becomes_smaller_than_enough(size: tuple[int, int], enough: Enough, expected: tuple[int, int]) -> None:
    """The file is decoded at the smallest size that is enough; its announced size is kept."""
    decoded = decode_image(_file(*size), LIMITS, enough)
    assert (decoded.width, decoded.height) == size
    assert decoded.raster.size == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_image_is_turned_upright(orientation: int) -> None:
    """Size and pixels are those of the upright image in every orientation."""
    data = _file(1200, 800, orientation=orientation)
    whole, half = decode_image(data, LIMITS), decode_image(data, LIMITS, Enough(400, 400))
    assert (half.width, half.height) == (whole.width, whole.height) == whole.raster.size
    assert half.raster.size == (whole.width // 2, whole.height // 2)
    shrunk = np.asarray(whole.raster.reduce(2)).astype(int)
    assert np.abs(np.asarray(half.raster) - shrunk).mean() < 2


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_every_mode_can_be_reduced(mode: str) -> None:
    """Gray and CMYK files are also reduced, and become RGB."""
    data = _file(1200, 800, mode=mode)
    whole, half = decode_image(data, LIMITS), decode_image(data, LIMITS, Enough(400, 400))
    assert (half.raster.mode, half.raster.size) == ("RGB", (600, 400))
    assert np.abs(np.asarray(half.raster).astype(int) - np.asarray(whole.raster.reduce(2))).mean() < 2


@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF"])
def test_other_formats_are_decoded_whole(name: str) -> None:
    """Only JPEG can be decoded at a reduced size."""
    decoded = decode_image(_file(1200, 800, name), LIMITS, Enough(100, 100))
    assert decoded.raster.size == (decoded.width, decoded.height) == (1200, 800)


def test_a_damaged_file_is_refused_at_any_size() -> None:
    """A file that ends too early is broken, even if only a small size is needed."""
    data = _file(1200, 800)
    with pytest.raises(BrokenImage):
        decode_image(data[: len(data) // 2], LIMITS, Enough(100, 100))

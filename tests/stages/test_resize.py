"""Resizing with SIMD, compared with Pillow."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from torchvision import transforms

from src.stages.decoded_image import Box, DecodedImage
from src.stages.input_spec import InputSpec, Interpolation
from src.stages.resize import resize
from src.stages.transform import transform

LARGE = (1300, 800)
FILTERS = [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]


def _photo(size: tuple[int, int]) -> Image.Image:
    """Return a photo with hard edges."""
    rocket: NDArray[np.uint8] = data.rocket()  # type: ignore[no-untyped-call] # scikit-image has no types
    return Image.fromarray(rocket).resize(size, Image.Resampling.NEAREST)


def _levels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image, dtype=np.int64)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", FILTERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("size", [(341, 224), (500, 900), (1700, 1000)], ids=str)
def test_large_images_are_resized_as_in_pillow(size: tuple[int, int], kind: Image.Resampling, mode: str) -> None:
    """Reduced, enlarged or stretched, an image differs by at most two levels, in less than 1 % of its values."""
    image = _photo(LARGE).convert(mode)
    off = np.abs(_levels(resize(image, size, kind)) - _levels(image.resize(size, kind)))
    assert off.max() <= 2
    assert (off > 0).mean() < 0.01


@pytest.mark.parametrize("kind", FILTERS, ids=lambda kind: kind.name)
def test_a_part_equals_that_of_the_resized_whole(kind: Image.Resampling) -> None:
    """Pixels around a box contribute as if the whole image were resized and then cropped."""
    image, whole, (left, top, right, bottom) = _photo(LARGE), (364, 224), (70, 20, 294, 200)
    box = Box(left, top, right, bottom).scaled(LARGE[0] / whole[0], LARGE[1] / whole[1])
    part = resize(image, (right - left, bottom - top), kind, box)
    assert np.array_equal(_levels(part), _levels(resize(image, whole, kind).crop((left, top, right, bottom))))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_a_large_image_is_exact_on_request(interpolation: Interpolation) -> None:
    """With exact=True the network's input equals torchvision's bit for bit; otherwise nearly."""
    spec = InputSpec(resize=256, crop=(224, 224), interpolation=interpolation, mean=(0.5,) * 3, std=(0.5,) * 3)
    image = _photo(LARGE)
    by_torchvision = transforms.Compose(
        [transforms.Resize(256, transforms.InterpolationMode(interpolation)), transforms.CenterCrop(224)]
    )
    expected = _levels(by_torchvision(image))
    exact, fast = (transform(DecodedImage(image, *LARGE), spec, exact=exact).pixels for exact in (True, False))
    assert np.array_equal(exact, expected)
    off = np.abs(fast.astype(np.int64) - expected)
    assert off.max() <= (0 if interpolation == "nearest" else 2)
    assert (off > 0).mean() < 0.01


@pytest.mark.parametrize("side", [224, 299])
@pytest.mark.parametrize("size", [(1005, 1200), (1200, 1005), (1793, 1010)], ids=str)
def test_a_box_may_exceed_the_edge_by_rounding(size: tuple[int, int], side: int) -> None:
    """Without a margin 224 * (1005 / 224) is more than 1005, which must not refuse the image."""
    for rule in (side, (side, side)):
        spec = InputSpec(resize=rule, crop=(side, side), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
        image = DecodedImage(_photo(size), *size)
        fast, exact = (transform(image, spec, exact=exact).pixels.astype(int) for exact in (False, True))
        assert np.abs(fast - exact).max() <= 2


def test_an_image_of_a_megapixel_is_exact() -> None:
    """Up to a million pixels, the result equals torchvision's."""
    spec = InputSpec(resize=256, crop=(224, 224), interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
    image = _photo((1250, 800))
    fast, exact = (transform(DecodedImage(image, *image.size), spec, exact=exact).pixels for exact in (False, True))
    assert np.array_equal(fast, exact)

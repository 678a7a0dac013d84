"""Augmentation of training images."""

import numpy as np
import pytest
from PIL import Image

from src.stages.input_spec import InputSpec
from src.training.augmentation import vary

SPEC = InputSpec(resize=40, crop=(32, 24), interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
TIMES = 200


@pytest.fixture
def ramp() -> Image.Image:
    """A gray image of 64 x 48 pixels that gets brighter from left to right."""
    return Image.fromarray(np.tile(np.arange(64, 192, 2, dtype=np.uint8)[None, :, None], (48, 1, 3)))


def test_the_same_seed_gives_the_same_pixels(ramp: Image.Image) -> None:
    """Equal states of the generator give equal images of the size of the crop; other states give other images."""
    first, again, other = (np.asarray(vary(ramp, SPEC, np.random.default_rng(seed))) for seed in (0, 0, 1))
    assert first.shape == (32, 24, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_about_half_of_the_images_are_mirrored(ramp: Image.Image, rng: np.random.Generator) -> None:
    """The ramp falls from left to right about as often as it rises."""
    rising = [pixels[0, -1, 0] > pixels[0, 0, 0] for pixels in (np.array(vary(ramp, SPEC, rng)) for _ in range(TIMES))]
    assert 0.35 < np.mean(rising) < 0.65


def test_parts_lie_in_the_image_and_are_large(ramp: Image.Image, rng: np.random.Generator) -> None:
    """Every part shows at least half of the ramp: an area of at least 0.4, stretched by at most 4 to 3."""
    flat = SPEC.model_copy(update={"interpolation": "nearest"})
    for _ in range(TIMES):
        pixels = np.array(vary(ramp, flat, rng))[0, :, 0].astype(float)
        assert abs(pixels[-1] - pixels[0]) > 0.3 * 126 * 0.8 * 0.8
        assert pixels.min() > 0.6 * 64


@pytest.mark.parametrize("size", [(1, 1), (3, 300), (300, 3)])
def test_images_of_any_shape_can_be_varied(size: tuple[int, int], rng: np.random.Generator) -> None:
    """Single pixels and strips are resized to the same size as all other images."""
    for _ in range(20):
        assert vary(Image.new("RGB", size, "teal"), SPEC, rng).size == (24, 32)


def test_brightness_contrast_and_color_vary(rng: np.random.Generator) -> None:
    """A teal image ends up 0.6 to 1.5 times as bright, nearly always differently."""
    means = [np.asarray(vary(Image.new("RGB", (40, 40), (0, 128, 128)), SPEC, rng)).mean() for _ in range(20)]
    assert len(set(means)) > 15
    assert 0.6 * 85 < min(means) < 85 < max(means) < 1.5 * 85

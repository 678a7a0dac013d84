"""The network's input compared with torchvision's transforms, and the box that it shows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from src.stages.decoded_image import DecodedImage
from src.stages.input_spec import InputSpec, Interpolation
from src.stages.transform import seen_box, transform

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODES = {
    "nearest": transforms.InterpolationMode.NEAREST,
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
    "lanczos": transforms.InterpolationMode.LANCZOS,
}
SIZES = [(451, 300), (300, 451), (224, 224), (225, 225), (640, 97), (31, 47), (1000, 333), (256, 300)]
RULES: list[tuple[int | tuple[int, int], tuple[int, int]]] = [
    (256, (224, 224)),
    ((256, 256), (224, 224)),
    (224, (224, 224)),
    (248, (200, 180)),
]


def _spec(resize: int | tuple[int, int], crop: tuple[int, int], interpolation: Interpolation = "bilinear") -> InputSpec:
    return InputSpec(resize=resize, crop=crop, interpolation=interpolation, mean=MEAN, std=STD)


def _image(image: Image.Image) -> DecodedImage:
    return DecodedImage(image, *image.size)


def test_the_network_sees_srgb(rng: np.random.Generator) -> None:
    """The resized part of an image with a color profile is converted for the network."""
    image = Image.fromarray(rng.integers(0, 256, (300, 451, 3), dtype=np.uint8))
    spec = _spec(256, (224, 224))
    converted = transform(DecodedImage(image, *image.size, lambda part: part.point(lambda value: 255 - value)), spec)
    assert np.array_equal(converted.pixels, 255 - transform(_image(image), spec).pixels)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("resize", "crop"), RULES, ids=str)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_equals_torchvision(
    size: tuple[int, int],
    resize: int | tuple[int, int],
    crop: tuple[int, int],
    interpolation: Interpolation,
    rng: np.random.Generator,
) -> None:
    """Pixels and normalization are bit for bit those of torchvision's Resize, CenterCrop, ToTensor and Normalize."""
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    reference = transforms.Compose(
        [
            transforms.Resize(resize, MODES[interpolation]),
            transforms.CenterCrop(crop),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )(image)
    spec = _spec(resize, crop, interpolation)
    ours = torch.from_numpy(spec.normalize(transform(_image(image), spec).pixels))
    assert ours.dtype == torch.float32
    assert ours.is_contiguous()
    assert torch.equal(ours, reference)


def test_the_tutorials_box() -> None:
    """Resize((256, 256)) and CenterCrop(224) see 16/256 to 240/256 of each side."""
    box = seen_box(512, 1024, _spec((256, 256), (224, 224)))
    assert (box.x0, box.y0, box.x1, box.y1) == (32, 64, 480, 960)


def test_the_box_of_a_shorter_side_resize() -> None:
    """A shorter-side resize sees a centered square of the image, whatever its aspect ratio."""
    box = seen_box(1024, 512, _spec(256, (224, 224)))
    assert (box.x0, box.y0, box.x1, box.y1) == (288, 32, 736, 480)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(RULES))
def test_the_box_lies_in_the_image(
    width: int, height: int, rule: tuple[int | tuple[int, int], tuple[int, int]]
) -> None:
    """The box never leaves the image, is never empty, and is centered to a pixel of the resized image."""
    box = seen_box(width, height, _spec(*rule))
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height
    assert abs(box.x0 + box.x1 - width) <= width / 200
    assert abs(box.y0 + box.y1 - height) <= height / 180


def test_only_the_visible_part_of_a_very_long_image_is_resized(rng: np.random.Generator) -> None:
    """Only the middle of an image of 4,000 x 40 pixels is resized, to within two levels of the full result."""
    image = Image.fromarray(rng.integers(0, 256, (40, 4000, 3), dtype=np.uint8))
    seen = transform(_image(image), _spec(256, (224, 224))).pixels
    whole = image.resize((25_600, 256), Image.Resampling.BILINEAR).crop((12_688, 16, 12_912, 240))
    assert np.abs(seen.astype(int) - np.asarray(whole)).max() <= 2


@pytest.mark.parametrize("size", [(4001, 2999), (2999, 4001), (30_000, 1200)], ids=str)
def test_a_reduced_image_is_seen_at_the_same_place(size: tuple[int, int], rng: np.random.Generator) -> None:
    """The size of the file, not of its decoded image, determines the box; the pixels are nearly the same."""
    small = tuple(-(-side // 2) for side in size)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    spec = _spec(256, (224, 224))
    whole = transform(DecodedImage(coarse.resize(size, Image.Resampling.BICUBIC), *size), spec)
    halved = transform(DecodedImage(coarse.resize((small[0], small[1]), Image.Resampling.BICUBIC), *size), spec)
    assert halved.box == whole.box
    assert np.abs(halved.pixels.astype(int) - whole.pixels).max() <= 2


@pytest.mark.parametrize(("size", "left"), [((227, 224), 1), ((229, 224), 2), ((228, 224), 2)], ids=str)
def test_margins_are_rounded_down_if_the_model_says_so(
    size: tuple[int, int], left: int, rng: np.random.Generator
) -> None:
    """Of margins of half pixels the crop of transformers takes the smaller, where torchvision takes the even one."""
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    spec = _spec(224, (224, 224)).model_copy(update={"margin": "down"})
    seen = transform(_image(Image.fromarray(pixels)), spec)
    assert np.array_equal(seen.pixels, pixels[:, left : left + 224])
    assert (seen.box.x0, seen.box.x1) == (left, left + 224)

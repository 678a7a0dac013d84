"""Transforms of torchvision as the input of a model."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms as v1
from torchvision.models import ResNet18_Weights
from torchvision.transforms import InterpolationMode, v2
from torchvision.tv_tensors import Image as ImageTensor

from src.checkpoints.own.transforms import input_of
from src.errors import ModelError
from src.stages.decoded_image import DecodedImage
from src.stages.transform import transform as prepared

TO_FLOAT = v2.ToDtype(torch.float32, scale=True)
HALF = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


@pytest.mark.parametrize(
    "transform",
    [
        v1.Compose([v1.Resize(40), v1.CenterCrop(32), v1.ToTensor(), v1.Normalize(*HALF)]),
        v1.Compose([v1.Resize((32, 48), InterpolationMode.BICUBIC), v1.ToTensor()]),
        v2.Compose(
            [
                v2.ToImage(),
                v2.Resize([40]),
                v2.CenterCrop((30, 32)),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(*HALF),
            ]
        ),
        v2.Compose([v2.Resize((32, 32)), v2.Compose([v2.PILToTensor(), TO_FLOAT])]),
        v1.Compose([v1.Grayscale(), v1.Resize((28, 28)), v1.ToTensor(), v1.Normalize((0.13,), (0.31,))]),
        v1.Compose([v1.Resize(40), v1.CenterCrop(28), v1.Grayscale(), v1.ToTensor()]),
        v2.Compose(
            [v2.Resize((32, 32), 3), nn.Identity(), v2.ToImage(), v2.ToDtype(torch.uint8, scale=True), TO_FLOAT]
        ),
        ResNet18_Weights.DEFAULT.transforms(),
    ],
)
def test_a_transform_is_read(transform: Any, rng: np.random.Generator) -> None:
    """The InputSpec prepares images like the transform, within one pixel level."""
    image = Image.fromarray(rng.integers(0, 256, (50, 70, 3), np.uint8)).resize((700, 500), Image.Resampling.BICUBIC)
    spec = input_of(transform)
    found = spec.normalize(prepared(DecodedImage(image, *image.size), spec).pixels)
    expected = transform(image).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1.01 / 255 / min(spec.std)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([v1.RandomResizedCrop(32), v1.ToTensor()], "RandomResizedCrop chooses at random"),
        ([v1.Resize(40), v1.ToTensor()], "leaves images of many sizes"),
        ([v1.CenterCrop(32), v1.ToTensor()], "CenterCrop is in a position"),
        ([v1.ToTensor()], "does not resize images"),
        ([v1.Resize((32, 32))], "does not scale"),
        ([v1.Resize((32, 32)), v1.ToTensor(), v1.Lambda(lambda x: x * 2)], "Lambda changes pixels"),
        ([v1.Resize((32, 32)), v1.Grayscale(3), v1.ToTensor()], "Grayscale is in a position"),
        ([v1.Resize((32, 32)), v1.PILToTensor(), v2.ToDtype(torch.float32)], "ToDtype is in a position"),
        (
            [v1.Resize((32, 32)), v1.ToTensor(), v1.Normalize((0,), (1,)), v1.Normalize((0,), (1,))],
            "Normalize is in a position",
        ),
        ([v1.Resize((32, 32), InterpolationMode.BOX), v1.ToTensor()], "Resize is in a position"),
        ([v1.ToTensor(), v1.Resize((32, 32), antialias=False)], "Resize is in a position"),
        ([v1.ToTensor(), v1.Resize((32, 32), antialias="warn")], "Resize is in a position"),
        ([v1.Resize((32, 32)), v1.ToTensor(), v2.ToDtype(torch.uint8, scale=True)], "ToDtype is in a position"),
        (
            [v1.Resize((32, 32)), v2.ToImage(), v2.ToDtype({ImageTensor: torch.float32}, scale=True)],
            "ToDtype is in a position",
        ),
        ([v1.Resize((32, 32)), v1.ToTensor(), nn.ReLU()], "ReLU changes pixels"),
        ([v1.Resize((32, 32)), v1.Pad(2), v1.ToTensor()], "Pad changes pixels"),
        ([v1.Resize((32, 32)), v1.ToTensor(), v1.Normalize((0.5,), (0.0,))], "std must be above 0"),
    ],
)
def test_an_unsupported_step_is_named(steps: list[Any], message: str) -> None:
    """A step that is random, unknown or misplaced is refused by name."""
    with pytest.raises(ModelError, match=message):
        input_of(v1.Compose(steps))

"""The preprocessing of published weights."""

from typing import Any

import numpy as np
import pytest
import timm
import timm.data
import torch
from PIL import Image
from torchvision import models

from src.checkpoints.inputs.published import TUTORIAL, published_input
from src.stages.decoded_image import DecodedImage
from src.stages.transform import transform

data: Any = timm.data  # it has no types


def _ours(image: Image.Image, architecture: str) -> torch.Tensor:
    spec = published_input(architecture)
    return torch.from_numpy(spec.normalize(transform(DecodedImage(image, *image.size), spec).pixels))


@pytest.mark.parametrize("name", ["resnet18", "alexnet", "inception_v3", "efficientnet_b1", "vit_b_16", "swin_t"])
def test_torchvision_inputs_equal_its_presets(name: str, rng: np.random.Generator) -> None:
    """The input is that of torchvision's own preset for the weights, bit for bit."""
    image = Image.fromarray(rng.integers(0, 256, (300, 451, 3), dtype=np.uint8))
    preset = next(iter(models.get_model_weights(name))).transforms(antialias=True)
    torch.testing.assert_close(_ours(image, f"torchvision/{name}"), preset(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["resnet50", "tf_efficientnet_lite0", "convnext_tiny", "vit_small_patch16_224", "inception_v4"]
)
def test_timm_inputs_equal_its_transforms(name: str, rng: np.random.Generator) -> None:
    """The input is that of timm's own transform for the weights."""
    image = Image.fromarray(rng.integers(0, 256, (300, 451, 3), dtype=np.uint8))
    published: Any = timm.get_pretrained_cfg(name)
    theirs = data.create_transform(**data.resolve_data_config(published.to_dict()), is_training=False)(image)
    torch.testing.assert_close(_ours(image, f"timm/{name}"), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", ["timm/volo_d4_448", "timm/test_resnet", "torchvision/mnasnet0_75"])
def test_every_network_has_a_valid_input(architecture: str) -> None:
    """Networks that publish a crop of more than the whole image, or no weights, have a valid input, too."""
    spec = published_input(architecture)
    assert min(spec.crop) > 0


def test_the_tutorials_input_stretches() -> None:
    """The tutorial stretches to 256 x 256 and takes the center 224 x 224, with ImageNet's mean and deviation."""
    assert (TUTORIAL.resize, TUTORIAL.crop, TUTORIAL.interpolation) == ((256, 256), (224, 224), "bilinear")
    assert TUTORIAL.mean == (0.485, 0.456, 0.406)

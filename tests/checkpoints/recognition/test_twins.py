"""Choosing among architectures with the same tensors."""

from collections.abc import Collection

import pytest
import torch
from torch import nn

from src.checkpoints.recognition.twins import Choice, choose
from src.errors import ModelError, Remedy

VITS = ("timm/deit_tiny_patch16_224", "timm/vit_tiny_patch16_224")
RESNETS = ("torchvision/resnet18", "timm/resnet18", "timm/resnetblur18")
PADDED = ("timm/efficientnet_b0", "timm/tf_efficientnet_b0")


def equal(_: str) -> nn.Module:
    """Return the same network for every name."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def different(name: str) -> nn.Module:
    """Return a different network for every name."""
    return nn.Sequential(equal(name), nn.LogSoftmax(1) if name.startswith("timm/tf_") else nn.Softmax(1))


@pytest.mark.parametrize("settled", [(), ("std",), ("resize", "interpolation")])
def test_twins_that_prepare_differently_are_asked_about(settled: Collection[str]) -> None:
    """If mean and std differ, none is chosen; the error shows each preparation and every option that decides."""
    with pytest.raises(ModelError, match=r"mean 0\.485,0\.456,0\.406.* mean 0\.5,0\.5,0\.5") as error:
        choose(VITS, {}, settled, equal)
    assert error.value.remedies[:2] == tuple(Remedy("architecture", name) for name in VITS)
    assert Remedy("mean") in error.value.remedies


def test_a_given_preparation_settles_twins() -> None:
    """If mean and std are known and both compute alike, the first is chosen."""
    assert choose(VITS, {}, {"mean", "std"}, equal).architecture == VITS[0]


def test_a_name_in_the_file_settles_twins() -> None:
    """A hyper-parameter that names one of them decides."""
    assert choose(VITS, {"model_name": "vit_tiny_patch16_224.augreg_in21k"}, (), different).architecture == VITS[1]


def test_twins_that_compute_differently_are_asked_about() -> None:
    """The same tensors with another padding give other answers: none is chosen."""
    with pytest.raises(ModelError, match="compute differently") as error:
        choose(PADDED, {}, (), different)
    assert error.value.remedies == tuple(Remedy("architecture", name) for name in PADDED)


def test_rare_variants_are_named_beside_the_usual_network() -> None:
    """An anti-aliased variant of a usual network is chosen only by name; otherwise it is listed among the others."""
    found = choose(RESNETS, {}, (), equal)
    assert found == Choice(RESNETS[0], "recognized by its tensors", RESNETS[1:])


def test_twins_are_compared_on_noise() -> None:
    """Twins are compared on noise of the published size."""
    sizes = []

    def recorded(name: str) -> nn.Module:
        network = equal(name)
        network.register_forward_pre_hook(lambda _, images: sizes.append(images[0].shape))
        return network

    choose(RESNETS, {}, (), recorded)
    assert sizes == [torch.Size((1, 3, 224, 224))] * 2

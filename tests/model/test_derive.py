"""Which heads have a closed form, and that it is right."""

import numpy as np
import pytest
import torch
from torch import nn

from src.model.derive import derive
from src.model.network import build
from src.model.split import split

CLASSES = 5
SHAPE = (6, 4, 7)  # channels, height, width


def _head(*before: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*before, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(SHAPE[0], CLASSES)).eval()


def _by_autograd(head: nn.Module, features: torch.Tensor, class_index: int) -> torch.Tensor:
    leaf = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(head(leaf.clone())[0, class_index], leaf)
    return gradient[0].mean(dim=(1, 2))


@pytest.mark.parametrize(
    "head",
    [
        _head(),
        _head(nn.Dropout(), nn.BatchNorm2d(SHAPE[0])),
        nn.Sequential(nn.Conv2d(SHAPE[0], CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        _head(nn.Conv2d(SHAPE[0], SHAPE[0], 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(6 * 4 * 7, CLASSES)),
    ],
    ids=["pool and linear", "norm before", "convolution then pool", "mixes positions", "no pooling"],
)
def test_a_linear_head_has_a_closed_form(head: nn.Module) -> None:
    """However such a head is written, the weights of every class are those of automatic differentiation."""
    features = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))
    derived = derive(head.eval(), features)
    assert derived is not None
    for index in range(CLASSES):
        found = derived.form.weights(index, (), SHAPE[1] * SHAPE[2])
        np.testing.assert_allclose(found, _by_autograd(head, features, index), atol=1e-6)


@pytest.mark.parametrize(
    "head",
    [
        _head(nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(SHAPE[0]), nn.Linear(SHAPE[0], CLASSES)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Hardswish(), nn.Linear(SHAPE[0], CLASSES)),
    ],
    ids=["ReLU before", "layer norm", "hardswish"],
)
def test_other_heads_have_none(head: nn.Module) -> None:
    """A head that is not linear is left to automatic differentiation."""
    features = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))
    assert derive(head.eval(), features) is None


@pytest.mark.parametrize("architecture", ["torchvision/alexnet", "torchvision/vgg11"])
def test_large_linear_heads_have_a_closed_form(architecture: str) -> None:
    """The heads of alexnet and vgg, with hidden layers, need no way back through their first and largest layer."""
    torch.manual_seed(0)
    parts = split(build(architecture, CLASSES), (224, 224))
    with torch.no_grad():
        features = parts.backbone(torch.randn(1, 3, 224, 224))
    derived = derive(parts.head, features)
    assert derived is not None
    with torch.no_grad():
        *hidden, logits = (output[0].numpy() for output in derived.module(features))
        np.testing.assert_array_equal(logits, parts.head(features)[0].numpy())
    assert [layer.shape[0] for layer in derived.form.layers] == [4096, 4096, CLASSES]
    assert derived.form.layers[0].shape[1] == features.shape[1]
    positions = features.shape[2] * features.shape[3]
    for index in range(CLASSES):
        expected = _by_autograd(parts.head, features, index).numpy()
        found = derived.form.weights(index, hidden, positions)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())

"""Closed forms of heads."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from src.checkpoints.network import build
from src.conversion.capture import capture, random_images
from src.conversion.cut import Cut, cut
from src.conversion.derive import derive
from src.stages.input_spec import InputSpec

CLASSES = 5
ONE = np.eye(CLASSES, dtype=np.float32)
SHAPE = (6, 4, 7)  # channels, height, width


def _head(*before: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*before, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(SHAPE[0], CLASSES)).eval()


SPEC = InputSpec(resize=(32, 56), crop=(32, 56), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


def _cut(head: nn.Module) -> tuple[Cut, torch.Tensor]:
    """Return a network with this head, cut in front of it, and the features of two images."""
    stem = nn.Sequential(nn.Conv2d(3, SHAPE[0], 8, stride=8), nn.Tanh()).eval()
    parts = cut(capture(nn.Sequential(stem, head).eval().requires_grad_(requires_grad=False), SPEC), SPEC, "0")
    with torch.no_grad():
        return parts, parts.network()(random_images(SPEC))[0]


def _by_autograd(parts: Cut, features: torch.Tensor, class_index: int) -> NDArray[np.float32]:
    leaf = features[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(parts.head(leaf)[0, class_index], leaf)
    return np.asarray(parts.layout.fold(gradient)[0].mean(dim=(1, 2)).numpy(), dtype=np.float32)


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
    """However a linear head is written, the weights of every class equal those of automatic differentiation."""
    parts, features = _cut(head)
    derived = derive(parts, features)
    assert derived is not None
    for index in range(CLASSES):
        found = derived.form.gradient(ONE[[index]])[0] / (SHAPE[1] * SHAPE[2])
        np.testing.assert_allclose(found, _by_autograd(parts, features, index), atol=1e-6)


@pytest.mark.parametrize(
    "head",
    [
        _head(nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(SHAPE[0]), nn.Linear(SHAPE[0], CLASSES)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Hardswish(), nn.Linear(SHAPE[0], CLASSES)),
    ],
    ids=["ReLU before", "layer norm", "hardswish"],
)
def test_other_heads_have_no_closed_form(head: nn.Module) -> None:
    """A head that is not linear is left to automatic differentiation."""
    assert derive(*_cut(head)) is None


def test_a_head_with_hidden_layers_has_a_closed_form() -> None:
    """The head of AlexNet has a closed form whose first matrix is summed over the positions."""
    torch.manual_seed(0)
    spec = InputSpec(resize=224, crop=(224, 224), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    parts = cut(capture(build("torchvision/alexnet", CLASSES), spec), spec)
    with torch.no_grad():
        features = parts.network()(random_images(spec))[0][:1]
    derived = derive(parts, features)
    assert derived is not None
    with torch.no_grad():
        *hidden, logits = (output[0].numpy() for output in parts.behind(derived.hidden)(features))
        np.testing.assert_array_equal(logits, parts.head(features)[0].numpy())
    assert [layer.shape[0] for layer in derived.form.layers] == [4096, 4096, CLASSES]
    assert derived.form.layers[0].shape[1] == features.shape[1]
    positions = features.shape[2] * features.shape[3]
    for index in range(CLASSES):
        expected = _by_autograd(parts, features, index)
        found = derived.form.gradient(ONE[[index]], *(one[None] for one in hidden))[0] / positions
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())

"""The methods that use the full gradient, compared with brute force and the grad-cam package."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from src.options import Method
from src.stages.gradcam import BY_GRADIENT, gradcam

Maps = NDArray[np.float64]
SHAPE = (4, 3, 5)


def _hirescam(maps: Maps, gradient: Maps, row: int, column: int) -> float:
    return sum(float(gradient[k, row, column] * maps[k, row, column]) for k in range(len(maps)))


def _layercam(maps: Maps, gradient: Maps, row: int, column: int) -> float:
    return sum(max(0.0, float(gradient[k, row, column])) * float(maps[k, row, column]) for k in range(len(maps)))


def _gradcam_plus_plus(maps: Maps, gradient: Maps, row: int, column: int) -> float:
    heat = 0.0
    for one, slopes in zip(maps, gradient, strict=True):
        alphas = slopes**2 / (2 * slopes**2 + slopes**3 * one.sum())
        heat += float((alphas * np.maximum(slopes, 0)).sum() * one[row, column])
    return heat


def _xgradcam(maps: Maps, gradient: Maps, row: int, column: int) -> float:
    shares = [(slopes * one).sum() / one.sum() * one[row, column] for one, slopes in zip(maps, gradient, strict=True)]
    return float(sum(shares))


FORMULAS: dict[Method, Callable[[Maps, Maps, int, int], float]] = {
    Method.HIRESCAM: _hirescam,
    Method.LAYERCAM: _layercam,
    Method.GRADCAM_PLUS_PLUS: _gradcam_plus_plus,
    Method.XGRADCAM: _xgradcam,
}
PACKAGE = {
    Method.HIRESCAM: HiResCAM,
    Method.LAYERCAM: LayerCAM,
    Method.GRADCAM_PLUS_PLUS: GradCAMPlusPlus,
    Method.XGRADCAM: XGradCAM,
}
METHODS = pytest.mark.parametrize("method", BY_GRADIENT)


@METHODS
def test_a_method_equals_its_formula(method: Method, rng: np.random.Generator) -> None:
    """At each position, in float64, the heat equals the formula of the paper, divided by its maximum."""
    maps, gradient = rng.random(SHAPE), rng.normal(size=SHAPE)
    _, height, width = SHAPE
    heat = np.array([[max(0.0, FORMULAS[method](maps, gradient, i, j)) for j in range(width)] for i in range(height)])
    assert heat.any()
    found = BY_GRADIENT[method](maps.astype(np.float32), gradient.astype(np.float32)).values
    np.testing.assert_allclose(found, heat / heat.max(), atol=1e-5)


class _Network(nn.Module):
    """Features, and a head that treats positions differently."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(6, 8, 3), nn.Softplus(), nn.Flatten(), nn.Linear(8 * 36, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 3)."""
        logits: torch.Tensor = self.head(self.features(images))
        return logits


@METHODS
def test_a_method_equals_the_grad_cam_package(method: Method) -> None:
    """The heatmap equals the grad-cam package's, which enlarges it and stretches it between minimum and maximum."""
    torch.manual_seed(0)
    network, image = _Network(), torch.randn(1, 3, 32, 32)
    for weights in network.head[3].parameters():
        weights.data *= 100  # the package adds 1e-6 to what it divides by
    with PACKAGE[method](model=network, target_layers=[network.features]) as package:
        theirs = package(input_tensor=image, targets=[ClassifierOutputTarget(1)])[0]
    features = network.features(image).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network.head(features)[0, 1], features)
    mine = BY_GRADIENT[method](features.detach()[0].numpy(), gradient[0].numpy())
    assert mine.evidence
    enlarged = np.asarray(cv2.resize(mine.values, (32, 32)))
    stretched = (enlarged - enlarged.min()) / (enlarged.max() - enlarged.min())
    np.testing.assert_allclose(stretched, theirs, atol=1e-3)


@METHODS
def test_no_positive_evidence_stays_zero(method: Method, rng: np.random.Generator) -> None:
    """Without positive evidence, or without features, the map is all zero."""
    maps = rng.random(SHAPE, np.float32)
    against = BY_GRADIENT[method](maps, np.full(SHAPE, -1, np.float32))
    empty = BY_GRADIENT[method](np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32))
    assert not against.evidence
    assert not empty.evidence
    assert np.isfinite(against.values).all()


def test_hirescam_of_a_constant_gradient_is_grad_cam(rng: np.random.Generator) -> None:
    """With pooling and a linear layer the gradient is constant over positions, and both methods agree."""
    maps, weights = rng.random(SHAPE, np.float32), rng.normal(size=SHAPE[0]).astype(np.float32)
    gradient = np.broadcast_to(weights[:, None, None], SHAPE).astype(np.float32)
    found = BY_GRADIENT[Method.HIRESCAM](maps, gradient).values
    np.testing.assert_allclose(found, gradcam(maps, weights).values, atol=1e-6)

"""Grad-CAM against independent oracles."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from src.checkpoints.default import default_checkpoint
from src.checkpoints.network import build
from src.conversion.capture import capture
from src.conversion.cut import cut
from src.conversion.gradient import gradient_graph
from src.stages.gradcam import gradcam
from src.stages.input_spec import InputSpec

CLASSES = 5
SIZE = (224, 224)
SPEC = InputSpec(resize=256, crop=SIZE, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


def _as_sequence(densenet: nn.Module) -> nn.Module:
    """Return densenet with the ReLU behind its features as a module of its own, where a hook can reach it."""
    features, classifier = densenet.get_submodule("features"), densenet.get_submodule("classifier")
    return nn.Sequential(features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)


def _unchanged(network: nn.Module) -> nn.Module:
    return network


# architecture -> how an oracle sees the whole network, and the module whose output is the Grad-CAM layer
ORACLES: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "torchvision/resnet18": (_unchanged, "layer4.1"),
    "torchvision/mobilenet_v3_small": (_unchanged, "features.12"),
    "torchvision/densenet121": (_as_sequence, "1"),
    "torchvision/efficientnet_b0": (_unchanged, "features"),
    "torchvision/alexnet": (_unchanged, "features.11"),
    "torchvision/convnext_tiny": (_unchanged, "features"),
    "torchvision/swin_t": (_unchanged, "permute"),
    "timm/tf_efficientnet_lite0": (_unchanged, "bn2"),
}


def _network(architecture: str) -> nn.Module:
    torch.manual_seed(1)
    if architecture == "timm/tf_efficientnet_lite0":
        return default_checkpoint().network
    return build(architecture, CLASSES)


def _image() -> torch.Tensor:
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(2))


def _ours(network: nn.Module, image: torch.Tensor) -> list[NDArray[np.float32]]:
    """Return the heatmaps of the first classes by the captured gradient of the captured head."""
    parts = cut(capture(network, SPEC), SPEC)
    with torch.no_grad():
        features, logits = parts.network()(image.expand(2, -1, -1, -1))
    gradient = gradient_graph(parts.head, features, logits.shape[1])
    directions = torch.eye(logits.shape[1])[:CLASSES]
    with torch.no_grad():
        gradients = gradient(features[:1].repeat(CLASSES, *[1] * (features.ndim - 1)), directions)
    maps = parts.layout.fold(features)[0].numpy()
    return [gradcam(maps, weights).values for weights in parts.layout.fold(gradients).mean(dim=(2, 3)).numpy()]


def _by_hooks(network: nn.Module, layer: str, image: torch.Tensor, class_index: int) -> NDArray[np.float32]:
    """Grad-CAM as the paper's readers write it: a hook on the layer, a backward pass through the whole network."""
    network.requires_grad_(requires_grad=True)
    kept: list[torch.Tensor] = []

    def keep(_: nn.Module, __: object, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = network.get_submodule(layer).register_forward_hook(keep)
    network(image)[0, class_index].backward()
    handle.remove()
    gradient = kept[0].grad
    assert gradient is not None
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = torch.clamp((weights * kept[0]).sum(dim=1)[0], min=0).detach()
    network.requires_grad_(requires_grad=False)
    return np.asarray((heat / heat.max() if heat.max() > 0 else heat).numpy(), dtype=np.float32)


@dataclass(frozen=True)
class _Explained:
    """A network as an oracle sees it, the name of its Grad-CAM layer, and our heatmaps of its first classes."""

    network: nn.Module
    layer: str
    heats: list[NDArray[np.float32]]


@pytest.fixture(scope="module", params=ORACLES, ids=lambda name: name.partition("/")[2])
def explained(request: pytest.FixtureRequest) -> _Explained:
    """Networks of many kinds, explained by us."""
    network = _network(request.param)
    heats = _ours(network, _image())
    whole, layer = ORACLES[request.param]
    return _Explained(whole(network), layer, heats)


def test_equals_a_full_backward_pass(explained: _Explained) -> None:
    """The heatmap through the head alone is that of hooks and a backward pass through the whole network."""
    oracles = [_by_hooks(explained.network, explained.layer, _image(), index) for index in range(CLASSES)]
    assert any(oracle.any() for oracle in oracles)
    for mine, oracle in zip(explained.heats, oracles, strict=True):
        np.testing.assert_allclose(mine, oracle, rtol=1e-5, atol=1e-5)


def test_equals_the_grad_cam_package(explained: _Explained) -> None:
    """The heatmap is that of the grad-cam package, which enlarges it and stretches it between minimum and maximum."""
    assert any(heat.any() for heat in explained.heats)
    seen = explained.network.requires_grad_(requires_grad=True)
    with GradCAM(model=seen, target_layers=[seen.get_submodule(explained.layer)]) as package:
        for index, mine in enumerate(explained.heats):
            theirs = package(input_tensor=_image(), targets=[ClassifierOutputTarget(index)])[0]
            if mine.any():
                np.testing.assert_allclose(
                    _stretched(np.asarray(cv2.resize(mine, SIZE), dtype=np.float32)), _stretched(theirs), atol=1e-4
                )


def _stretched(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((heat - heat.min()) / (heat.max() - heat.min()), dtype=np.float32)


def test_no_positive_evidence_stays_zero() -> None:
    """Where every position speaks against the class the map is all zero, never stretched and never NaN, and says so."""
    features = np.random.default_rng(5).random((1, 3, 3), np.float32) + np.float32(0.1)
    against, speaking = (gradcam(features, np.full(1, sign, np.float32)) for sign in (-1, 1))
    assert not against.evidence
    assert not against.values.any()
    assert speaking.evidence
    assert speaking.values.max() == 1


def test_zero_features_stay_zero() -> None:
    """Features that are all zero divide nothing by zero."""
    assert not gradcam(np.zeros((2, 3, 3), np.float32), np.ones(2, np.float32)).values.any()

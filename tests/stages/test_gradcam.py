"""Grad-CAM against independent oracles."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from src.model.default import default_checkpoint
from src.model.network import build
from src.model.split import split
from src.model.tensors import load_weights
from src.model.torch_runtime import TorchHead
from src.stages.gradcam import gradcam

CLASSES = 5
SIZE = (224, 224)


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
ARCHITECTURES = pytest.mark.parametrize("architecture", ORACLES, ids=lambda name: name.partition("/")[2])


def _network(architecture: str) -> nn.Module:
    torch.manual_seed(1)
    if architecture == "timm/tf_efficientnet_lite0":
        checkpoint = default_checkpoint()
        network = build(architecture, len(checkpoint.labels))
        load_weights(network, checkpoint.weights)
        return network
    return build(architecture, CLASSES)


def _picture() -> torch.Tensor:
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(2))


def _ours(network: nn.Module, picture: torch.Tensor, class_index: int) -> NDArray[np.float32]:
    parts = split(network, SIZE)
    with torch.no_grad():
        features = parts.backbone(picture)
    return _explained(parts.head, features, class_index)


def _explained(head: nn.Module, features: torch.Tensor, class_index: int) -> NDArray[np.float32]:
    evaluation = TorchHead.start(head, "cpu", 1).evaluate(features, explained=True)
    return gradcam(evaluation.features, evaluation.weights(class_index)).values


def _by_hooks(network: nn.Module, layer: str, picture: torch.Tensor, class_index: int) -> NDArray[np.float32]:
    """Grad-CAM as the paper's readers write it: a hook on the layer, a backward pass through the whole network."""
    network.requires_grad_(requires_grad=True)
    kept: list[torch.Tensor] = []

    def keep(_: nn.Module, __: object, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = network.get_submodule(layer).register_forward_hook(keep)
    network(picture)[0, class_index].backward()
    handle.remove()
    gradient = kept[0].grad
    assert gradient is not None
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = torch.clamp((weights * kept[0]).sum(dim=1)[0], min=0).detach()
    network.requires_grad_(requires_grad=False)
    return np.asarray((heat / heat.max() if heat.max() > 0 else heat).numpy(), dtype=np.float32)


@ARCHITECTURES
def test_equals_a_full_backward_pass(architecture: str) -> None:
    """The heatmap through the head alone is that of hooks and a backward pass through the whole network."""
    network, picture = _network(architecture), _picture()
    whole, layer = ORACLES[architecture]
    ours = [_ours(network, picture, index) for index in range(CLASSES)]
    oracles = [_by_hooks(whole(network), layer, picture, index) for index in range(CLASSES)]
    assert any(oracle.any() for oracle in oracles)
    for mine, oracle in zip(ours, oracles, strict=True):
        np.testing.assert_allclose(mine, oracle, rtol=1e-5, atol=1e-5)


@ARCHITECTURES
def test_equals_the_grad_cam_package(architecture: str) -> None:
    """The heatmap is that of the grad-cam package, which enlarges it and stretches it between minimum and maximum."""
    network, picture = _network(architecture), _picture()
    ours = [_ours(network, picture, index) for index in range(CLASSES)]
    assert any(heat.any() for heat in ours)
    whole, layer = ORACLES[architecture]
    seen = whole(network).requires_grad_(requires_grad=True)
    with GradCAM(model=seen, target_layers=[seen.get_submodule(layer)]) as package:
        for index, mine in enumerate(ours):
            theirs = package(input_tensor=picture, targets=[ClassifierOutputTarget(index)])[0]
            if mine.any():
                np.testing.assert_allclose(
                    _stretched(np.asarray(cv2.resize(mine, SIZE), dtype=np.float32)), _stretched(theirs), atol=1e-4
                )


def _stretched(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((heat - heat.min()) / (heat.max() - heat.min()), dtype=np.float32)


def _tiny_head() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 2 * 3, CLASSES)).double()


def test_equals_finite_differences() -> None:
    """The gradient behind the heatmap is that of central differences in float64."""
    head = _tiny_head()
    features = torch.randn(1, 3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    step = 1e-6
    gradient = torch.zeros_like(features)
    for position in range(features.numel()):
        moved = torch.zeros_like(features).view(-1)
        moved[position] = step
        moved = moved.view_as(features)
        with torch.no_grad():
            gradient.view(-1)[position] = (head(features + moved) - head(features - moved))[0, 1] / (2 * step)
    heat = (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1)[0].clamp(min=0)
    assert heat.max() > 0
    ours = _explained(head, features, 1)
    np.testing.assert_allclose(ours, (heat / heat.max()).numpy(), atol=1e-6)


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


def test_no_gradient_reaches_a_weight() -> None:
    """Even parameters that want gradients get none."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, CLASSES))
    _explained(head, torch.rand(1, 3, 4, 4), 0)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in head.parameters())


def test_eight_threads_give_what_one_gives() -> None:
    """Maps computed by eight threads at once are those computed one after the other."""
    parts = split(_network("torchvision/resnet18"), SIZE)
    pictures = [torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(seed)) for seed in range(16)]

    def explain(picture: torch.Tensor) -> NDArray[np.float32]:
        with torch.no_grad():
            features = parts.backbone(picture)
        return _explained(parts.head, features, 2)

    alone = [explain(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(explain, pictures))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)

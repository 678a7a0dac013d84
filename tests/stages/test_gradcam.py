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
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.resnet import BasicBlock
from torchvision.ops import Permute

from src.checkpoints.default import default_checkpoint
from src.conversion.capture import capture
from src.conversion.cut import cut
from src.conversion.gradient import gradient_graph
from src.stages.gradcam import gradcam
from src.stages.input_spec import InputSpec

CLASSES = 3
SIZE = (112, 112)
SPEC = InputSpec(resize=128, crop=SIZE, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


def _as_sequence(densenet: nn.Module) -> nn.Module:
    """Return densenet with the ReLU after its features as a module of its own, where a hook can reach it."""
    features, classifier = densenet.get_submodule("features"), densenet.get_submodule("classifier")
    return nn.Sequential(features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)


def _channels_first(swin: nn.Module) -> nn.Module:
    """Return a Swin with its features, before the closing norm, channels first, as oracles expect them."""
    parts = {name: swin.get_submodule(name) for name in ("features", "norm", "permute", "avgpool", "flatten", "head")}
    features = parts.pop("features")
    return nn.Sequential(features, Permute([0, 3, 1, 2]), Permute([0, 2, 3, 1]), *parts.values())


def _unchanged(network: nn.Module) -> nn.Module:
    return network


def _hidden() -> nn.Module:
    """Return a network with a hidden layer after its features, like AlexNet and VGG."""
    features = nn.Sequential(nn.Conv2d(3, 16, 11, 4), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(16, 32, 3), nn.ReLU())
    classifier = nn.Linear(32 * 9, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, CLASSES)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(3), nn.Flatten(), *classifier)


def _efficientnet() -> nn.Module:
    blocks = [MBConvConfig(ratio, 3, 2, *sizes, 1, 1, 1) for ratio, sizes in ((1, (32, 16)), (6, (16, 24)))]
    network: nn.Module = models.EfficientNet(blocks, 0.2, num_classes=CLASSES)
    return network


# kind -> a small network, how an oracle sees it, and the module whose output is the Grad-CAM layer
ORACLES: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], nn.Module], str]] = {
    "resnet": (lambda: models.ResNet(BasicBlock, [1, 1, 1, 1], CLASSES), _unchanged, "layer4.0"),
    "mobilenet_v3": (lambda: models.mobilenet_v3_small(num_classes=CLASSES), _unchanged, "features.12"),
    "densenet": (lambda: models.DenseNet(8, (2, 2), 16, num_classes=CLASSES), _as_sequence, "1"),
    "efficientnet": (_efficientnet, _unchanged, "features"),
    "hidden": (_hidden, _unchanged, "0"),
    "convnext": (
        lambda: models.ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)], num_classes=CLASSES),
        _unchanged,
        "features",
    ),
    "swin": (
        lambda: models.SwinTransformer([4, 4], 24, [2, 2], [2, 2], [7, 7], num_classes=CLASSES),
        _channels_first,
        "1",
    ),
    "default": (lambda: default_checkpoint().network, _unchanged, "bn2"),
}


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
    """Grad-CAM as commonly implemented: a hook on the layer, a backward pass through the whole network."""
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
    """A network for the oracles, the name of its Grad-CAM layer, and our heatmaps of its first classes."""

    network: nn.Module
    layer: str
    heats: list[NDArray[np.float32]]


@pytest.fixture(scope="module", params=ORACLES)
def explained(request: pytest.FixtureRequest) -> _Explained:
    """Networks of many kinds, with our heatmaps."""
    make, whole, layer = ORACLES[request.param]
    torch.manual_seed(1)
    network = make().eval().requires_grad_(requires_grad=False)
    return _Explained(whole(network), layer, _ours(network, _image()))


def test_equals_a_full_backward_pass(explained: _Explained) -> None:
    """The heatmap through the head alone equals that of hooks and a backward pass through the whole network."""
    oracles = [_by_hooks(explained.network, explained.layer, _image(), index) for index in range(CLASSES)]
    assert any(oracle.any() for oracle in oracles)
    for mine, oracle in zip(explained.heats, oracles, strict=True):
        np.testing.assert_allclose(mine, oracle, rtol=1e-5, atol=1e-5)


def test_equals_the_grad_cam_package(explained: _Explained) -> None:
    """The heatmap equals the grad-cam package's, which enlarges it and stretches it between minimum and maximum."""
    assert any(heat.any() for heat in explained.heats)
    seen = explained.network.requires_grad_(requires_grad=True)
    with GradCAM(model=seen, target_layers=[seen.get_submodule(explained.layer)]) as package:
        for index, mine in enumerate(explained.heats[:2]):
            theirs = package(input_tensor=_image(), targets=[ClassifierOutputTarget(index)])[0]
            if mine.any():
                np.testing.assert_allclose(
                    _stretched(np.asarray(cv2.resize(mine, SIZE), dtype=np.float32)), _stretched(theirs), atol=1e-4
                )


def _stretched(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((heat - heat.min()) / (heat.max() - heat.min()), dtype=np.float32)


def test_no_positive_evidence_stays_zero() -> None:
    """Without positive evidence the map is all zero, never stretched and never NaN, and evidence is false."""
    features = np.random.default_rng(5).random((1, 3, 3), np.float32) + np.float32(0.1)
    against, speaking = (gradcam(features, np.full(1, sign, np.float32)) for sign in (-1, 1))
    assert not against.evidence
    assert not against.values.any()
    assert speaking.evidence
    assert speaking.values.max() == 1


def test_zero_features_stay_zero() -> None:
    """All-zero features do not cause a division by zero."""
    assert not gradcam(np.zeros((2, 3, 3), np.float32), np.ones(2, np.float32)).values.any()

"""Splitting networks at their Grad-CAM layer."""

import pytest
import torch
from torch import nn

from src.errors import ModelError
from src.model.network import build, load_weights, split

LAYERS = {
    "torchvision/alexnet": ("features.11", (256, 13, 13)),
    "torchvision/vgg11": ("features.19", (512, 14, 14)),
    "torchvision/resnet18": ("layer4.1.relu_1", (512, 7, 7)),
    "torchvision/mobilenet_v3_small": ("features.12.2", (576, 7, 7)),
    "torchvision/densenet121": ("relu", (1024, 7, 7)),
    "torchvision/efficientnet_b0": ("features.8.2", (1280, 7, 7)),
    "torchvision/convnext_tiny": ("features.7.2.add", (768, 7, 7)),
    "torchvision/swin_t": ("permute.permute", (768, 7, 7)),
    "torchvision/squeezenet1_1": ("classifier.2", (3, 13, 13)),
    "torchvision/shufflenet_v2_x0_5": ("conv5.2", (1024, 7, 7)),
    "torchvision/googlenet": ("inception5b.cat", (1024, 7, 7)),
    "timm/tf_efficientnet_lite0": ("forward_features", (1280, 7, 7)),
    "timm/resnet18": ("forward_features", (512, 7, 7)),
}
SIZE = (224, 224)


@pytest.mark.parametrize(("architecture", "expected"), LAYERS.items(), ids=LAYERS)
def test_backbone_and_head_are_the_network(architecture: str, expected: tuple[str, tuple[int, ...]]) -> None:
    """Head after backbone gives bit for bit the logits of the whole network, cut at the layer that Grad-CAM wants."""
    torch.manual_seed(0)
    network = build(architecture, 3)
    parts = split(network, SIZE)
    pictures = torch.randn(2, 3, *SIZE)
    with torch.inference_mode():
        features = parts.backbone(pictures)
        assert torch.equal(parts.head(features), network(pictures))
    assert (parts.layer, tuple(features.shape[1:])) == expected


def test_a_known_layer_is_cut_again() -> None:
    """A layer that an earlier split named is found by its name."""
    network = build("torchvision/resnet18", 3)
    assert split(network, SIZE, "layer4.1.relu_1").layer == "layer4.1.relu_1"


@pytest.mark.parametrize(
    ("layer", "reason"),
    [("nowhere", "no layer 'nowhere'"), ("layer4.1.conv2", "passed by")],
    ids=["unknown", "bypassed"],
)
def test_a_layer_that_cannot_be_cut_is_refused(layer: str, reason: str) -> None:
    """A layer that does not exist, or that a shortcut passes by, is an error that says so."""
    with pytest.raises(ModelError, match=reason):
        split(build("torchvision/resnet18", 3), SIZE, layer)


def test_a_network_without_a_map_is_refused() -> None:
    """A network that never has a spatial feature map cannot be explained, and the error says so."""
    with pytest.raises(ModelError, match="no spatial feature map"):
        split(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2)).eval(), (8, 8))


def test_no_parameter_wants_a_gradient() -> None:
    """A network that is built for serving has no parameter that could collect gradients."""
    assert not any(parameter.requires_grad for parameter in build("torchvision/resnet18", 3).parameters())


@pytest.mark.parametrize("architecture", ["resnet18", "torchvision/resnet", "timm/nothing", "torchvision/", ""])
def test_an_unknown_architecture_is_refused(architecture: str) -> None:
    """A name that no library has is an error that says how to write one."""
    with pytest.raises(ModelError, match="torchvision/<name> or timm/<name>"):
        build(architecture, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, "0.bias is missing"),
        ({"1.weight": torch.zeros(2)}, "1.weight is not part of the network"),
        ({"0.weight": torch.zeros(2, 9)}, r"0.weight has the shape \(2, 9\) instead of \(2, 3\)"),
    ],
    ids=["missing", "surplus", "mis-shaped"],
)
def test_weights_must_fit_exactly(change: dict[str, torch.Tensor | None], message: str) -> None:
    """A tensor that is missing, surplus or of another shape is an error that names it."""
    network = nn.Sequential(nn.Linear(3, 2))
    weights = {**network.state_dict(), **change}
    with pytest.raises(ModelError, match=message):
        load_weights(network, {name: tensor for name, tensor in weights.items() if tensor is not None})


def test_many_faults_are_summed_up() -> None:
    """Of very many wrong tensors the error names the first ones and counts the rest."""
    network = nn.Sequential(*(nn.Linear(1, 1) for _ in range(10)))
    with pytest.raises(ModelError, match=r"0\.weight is missing; .* and 15 more"):
        load_weights(network, {})

"""Splitting networks at their Grad-CAM layer."""

import pytest
import torch
from torch import nn

from src.errors import ModelError
from src.model.network import build, build_to_load
from src.model.split import split
from src.model.tensors import load_weights

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
    "timm/vgg11": ("features.19", (512, 14, 14)),
    "torchvision/vit_b_32": ("encoder.layers.encoder_layer_10.add_1", (768 + 16, 7, 7)),
    "timm/swin_tiny_patch4_window7_224": ("forward_features", (768, 7, 7)),
    "timm/mixer_s32_224": ("forward_features", (512, 7, 7)),
    "timm/vit_tiny_patch16_224": ("blocks.10.add_1", (192 + 1, 14, 14)),
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


@pytest.mark.parametrize(
    ("architecture", "layer", "found", "shape"),
    [
        ("torchvision/resnet18", "layer4.1.relu_1", "layer4.1.relu_1", (512, 7, 7)),
        ("torchvision/resnet18", "layer3", "layer3.1.relu_1", (256, 14, 14)),
        ("timm/resnet18", "forward_features", "forward_features", (512, 7, 7)),
        ("timm/resnet18", "layer3", "layer3.1.act2", (256, 14, 14)),
        ("timm/vit_tiny_patch16_224", "blocks.10.add_1", "blocks.10.add_1", (193, 14, 14)),
        ("timm/vit_tiny_patch16_224", "blocks.5", "blocks.5.add_1", (193, 14, 14)),
    ],
)
def test_a_named_layer_is_cut(architecture: str, layer: str, found: str, shape: tuple[int, int, int]) -> None:
    """A layer that an earlier split named is found again; a module's name stands for its output."""
    torch.manual_seed(0)
    network = build(architecture, 3)
    parts = split(network, SIZE, layer)
    pictures = torch.randn(2, 3, *SIZE)
    with torch.inference_mode():
        features = parts.backbone(pictures)
        assert torch.equal(parts.head(features), network(pictures))
    assert (parts.layer, tuple(features.shape[1:])) == (found, shape)


@pytest.mark.parametrize(
    ("architecture", "layer", "reason"),
    [
        ("torchvision/resnet18", "nowhere", "no layer 'nowhere'"),
        ("torchvision/resnet18", "layer", "no layer 'layer'"),
        ("torchvision/resnet18", "layer4.1.conv2", "passed by"),
        ("torchvision/resnet18", "fc", "no map"),
        ("timm/test_vit", "norm", "does not depend on the map"),
    ],
)
def test_a_layer_that_cannot_be_cut_is_refused(architecture: str, layer: str, reason: str) -> None:
    """A layer that does not exist, is passed by, has no map, or whose map is not read is an error that says so."""
    network = build(architecture, 3)
    size = (160, 160) if architecture == "timm/test_vit" else SIZE
    with pytest.raises(ModelError, match=reason):
        split(network, size, layer)


def test_a_network_without_a_map_is_refused() -> None:
    """A network that never has a spatial feature map cannot be explained, and the error says so."""
    with pytest.raises(ModelError, match="no spatial feature map"):
        split(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2)).eval(), (8, 8))


class _Chooser(nn.Module):
    """A network that looks at its values before it decides what to do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x.mean(dim=(2, 3)) if bool(x.sum() > 0) else x.amax(dim=(2, 3))
        return result


class _Twins(nn.Module):
    """A network with two answers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.conv(x)
        mean: torch.Tensor = features.mean(dim=(2, 3))
        return mean, features.amax(dim=(2, 3))


class _SideBySide(nn.Module):
    """A network that adds up the answers of two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.one(x).mean(dim=(2, 3)) + self.other(x).mean(dim=(2, 3))
        return answer


@pytest.mark.parametrize(
    ("network", "reason"),
    [(_Chooser(), "cannot be traced"), (_Twins(), "gives a tuple"), (_SideBySide(), "side by side")],
)
def test_a_network_without_one_way_from_a_map_to_logits_is_refused(network: nn.Module, reason: str) -> None:
    """A network that cannot be traced, has several answers or several last maps is an error that says so."""
    with pytest.raises(ModelError, match=reason):
        split(network.eval(), (16, 16))


@pytest.mark.parametrize(
    "pooling", [nn.AdaptiveAvgPool1d(1), nn.BatchNorm1d(100)], ids=lambda module: type(module).__name__
)
def test_the_last_map_is_not_a_pooled_or_flattened_one(pooling: nn.Module) -> None:
    """Of a network of one's own the last convolution's map is taken, not what pooling and reshaping make of it."""
    convolution = (nn.Conv2d(3, 100, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    network = nn.Sequential(*convolution, nn.Flatten(2), pooling, nn.Flatten(), nn.LazyLinear(2)).eval()
    network(torch.zeros(1, 3, 16, 16))
    assert split(network, (16, 16)).layer == "1"


def test_no_parameter_wants_a_gradient() -> None:
    """A network that is built for serving has no parameter that could collect gradients."""
    assert not any(parameter.requires_grad for parameter in build("torchvision/resnet18", 3).parameters())


@pytest.mark.parametrize(
    "architecture",
    ["torchvision/resnet18", "torchvision/swin_t", "torchvision/mnasnet0_5", "timm/vit_relpos_small_patch16_224"],
)
def test_a_network_to_load_draws_no_random_numbers(architecture: str) -> None:
    """Built to be loaded, a network leaves the random generator alone; loaded, it is the network that was saved."""
    torch.manual_seed(0)
    network = build(architecture, 3)
    before = torch.get_rng_state()
    loaded = build_to_load(architecture, 3)
    assert torch.equal(torch.get_rng_state(), before)
    load_weights(loaded, dict(network.state_dict()))
    pictures = torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        assert torch.equal(loaded(pictures), network(pictures))


def test_weights_in_half_precision_come_to_that_of_the_network() -> None:
    """Half-precision weights become the network's own precision; those in the right one are not copied."""
    network = nn.Linear(3, 2)
    weights = {"weight": torch.ones(2, 3, dtype=torch.float16), "bias": torch.ones(2)}
    load_weights(network, weights)
    assert network.weight.dtype == torch.float32
    assert network.bias.data_ptr() == weights["bias"].data_ptr()


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

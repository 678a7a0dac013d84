"""Cutting captured networks at their Grad-CAM layer."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from src.checkpoints.network import build
from src.conversion.capture import capture
from src.conversion.cut import Cut, cut
from src.errors import ModelError
from src.stages.features import FeatureLayout
from src.stages.input_spec import InputSpec

# Grad-CAM layer, layout of the features, shape of the maps, placeless tokens
LAYERS = {
    "torchvision/alexnet": ("features.11", "NKhw", (256, 13, 13), 0),
    "torchvision/resnet18": ("layer4", "NKhw", (512, 7, 7), 0),
    "torchvision/mobilenet_v3_small": ("features", "NKhw", (576, 7, 7), 0),
    "torchvision/convnext_tiny": ("features", "NKhw", (768, 7, 7), 0),
    "torchvision/squeezenet1_1": ("classifier.2", "NKhw", (3, 13, 13), 0),
    "torchvision/shufflenet_v2_x0_5": ("conv5", "NKhw", (1024, 7, 7), 0),
    "torchvision/googlenet": ("inception5b", "NKhw", (1024, 7, 7), 0),
    "timm/tf_efficientnet_lite0": ("bn2", "NKhw", (1280, 7, 7), 0),
    "timm/vgg11": ("features.19", "NKhw", (512, 14, 14), 0),
    "timm/swin_tiny_patch4_window7_224": ("layers", "NTK", (768, 7, 7), 0),
    "timm/mixer_s32_224": ("norm", "NTK", (512, 7, 7), 0),
    "timm/vit_tiny_patch16_224": ("blocks.10", "NTK", (192, 14, 14), 1),
}


class _Rectified(nn.Module):
    """A network whose last map comes from a function, not from a module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 7, stride=4), nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(functional.relu(self.conv(images)).mean(dim=(2, 3)))
        return logits


def _spec(size: tuple[int, int] = (224, 224)) -> InputSpec:
    return InputSpec(resize=size, crop=size, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


@cache
def _captured(architecture: str) -> tuple[nn.Module, fx.GraphModule, InputSpec]:
    """Return a network, its captured graph and its input."""
    torch.manual_seed(0)
    network, spec = build(architecture, 3), _spec((160, 160) if architecture == "timm/test_vit" else (224, 224))
    return network, capture(network, spec), spec


def _parts(network: nn.Module, layer: str | None = None, size: tuple[int, int] = (224, 224)) -> Cut:
    return cut(capture(network, _spec(size)), _spec(size), layer)


def _check(network: nn.Module, parts: Cut) -> None:
    """Check that the graph and its head return the logits of the network.

    They are equal bit for bit unless only one token is read: a product with one row may be rounded differently.
    """
    images = torch.randn(2, *_spec().shape)
    with torch.no_grad():
        logits = network(images)
        features, captured = parts.network()(images)
        tolerance = 1e-6 if parts.layout.placeless else 0
        torch.testing.assert_close(captured, logits, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(parts.head(features), logits, rtol=tolerance, atol=tolerance)
        assert tuple(parts.layout.fold(features).shape[1:]) == parts.layout.shape


@pytest.mark.parametrize(("architecture", "expected"), LAYERS.items(), ids=LAYERS)
def test_a_network_is_cut_at_its_grad_cam_layer(
    architecture: str, expected: tuple[str, str, tuple[int, int, int], int]
) -> None:
    """The layer is the expected one, and the graph and its head return the logits of the network."""
    network, captured, spec = _captured(architecture)
    parts = cut(captured, spec)
    _check(network, parts)
    layer, axes, (channels, height, width), placeless = expected
    layout = FeatureLayout(axes=axes, channels=channels, height=height, width=width, placeless=placeless)
    assert (parts.layer, parts.layout) == (layer, layout)


@pytest.mark.parametrize(
    ("architecture", "layer", "shape"),
    [
        ("torchvision/resnet18", "layer4", (512, 7, 7)),
        ("torchvision/resnet18", "layer3.1", (256, 14, 14)),
        ("torchvision/resnet18", "layer4.1.relu", (512, 7, 7)),
        ("timm/vit_tiny_patch16_224", "blocks.10", (192, 14, 14)),
        ("timm/vit_tiny_patch16_224", "blocks.5", (192, 14, 14)),
    ],
)
def test_a_network_is_cut_at_a_named_layer(architecture: str, layer: str, shape: tuple[int, int, int]) -> None:
    """The name of a module stands for its output."""
    network, captured, spec = _captured(architecture)
    parts = cut(captured, spec, layer)
    _check(network, parts)
    assert (parts.layer, parts.layout.shape) == (layer, shape)


def test_the_layer_name_of_a_cut_reproduces_it() -> None:
    """The layer of a cut can be named again, even if it is an operation without a module."""
    network = _Rectified()
    first = _parts(network)
    assert first.layer == "relu"
    again = _parts(network, first.layer)
    assert (again.features.name, again.layout) == (first.features.name, first.layout)


@pytest.mark.parametrize(
    ("architecture", "layer", "reason"),
    [
        ("torchvision/resnet18", "nowhere", "no layer 'nowhere'"),
        ("torchvision/resnet18", "layer", "no layer 'layer'"),
        ("torchvision/resnet18", "layer4.1.conv2", "bypassed"),
        ("torchvision/resnet18", "fc", "not a spatial map"),
        ("timm/test_vit", "norm", "do not depend on the map"),
    ],
)
def test_a_layer_that_cannot_be_cut_is_refused(architecture: str, layer: str, reason: str) -> None:
    """A layer is refused with the reason if it does not exist, is bypassed, is not a map or is not read."""
    _, captured, spec = _captured(architecture)
    with pytest.raises(ModelError, match=reason):
        cut(captured, spec, layer)


class _SideBySide(nn.Module):
    """A network that adds the logits of two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.one(x).mean(dim=(2, 3)) + self.other(x).mean(dim=(2, 3))
        return answer


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (_SideBySide(), "side by side"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2)), "no spatial feature map"),
    ],
)
def test_a_network_without_one_last_map_is_refused(network: nn.Module, reason: str) -> None:
    """A network with no map, or with several last ones, is refused with the reason."""
    with pytest.raises(ModelError, match=reason):
        _parts(network.eval(), size=(16, 16))


class _Asking(nn.Module):
    """A network whose learned queries, one for each of nine classes, look at the map by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.queries, self.last = nn.Parameter(torch.randn(9, 8)), nn.Linear(8, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        asked = self.queries.expand(len(images), -1, -1)
        tokens = torch.tanh(self.conv(images)).flatten(2).transpose(1, 2)
        asked = asked + functional.scaled_dot_product_attention(asked, tokens, tokens)
        logits: torch.Tensor = self.last(asked).flatten(1)
        return logits


def test_learned_queries_are_not_taken_for_a_map() -> None:
    """The nine classes of a decoder are no grid of 3 x 3 positions: the map is what they look at."""
    assert _parts(_Asking().eval(), size=(32, 32)).layout.shape == (8, 8, 8)


@pytest.mark.parametrize(
    "pooling", [nn.AdaptiveAvgPool1d(1), nn.BatchNorm1d(100)], ids=lambda module: type(module).__name__
)
def test_a_network_is_cut_before_pooling_and_flattening(pooling: nn.Module) -> None:
    """In a custom network, the last map is that of the convolution, not the pooled or reshaped one."""
    convolution = (nn.Conv2d(3, 100, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    network = nn.Sequential(*convolution, nn.Flatten(2), pooling, nn.Flatten(), nn.LazyLinear(2)).eval()
    network(torch.zeros(1, 3, 16, 16))
    assert _parts(network, size=(16, 16)).layer == "1"


class _Spectral(nn.Module):
    """A network that averages the complex spectrum of its map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(torch.fft.fft2(self.conv(images)).mean(dim=(2, 3)).abs())
        return logits


def test_a_complex_tensor_is_not_a_map() -> None:
    """Grad-CAM multiplies and compares real numbers: the map is the last real one."""
    assert _parts(_Spectral().eval(), size=(16, 16)).layer == "conv"


class _Read(nn.Module):
    """A network that reads its 8 x 8 map as something of rank two: ``read`` makes it (N, T, features)."""

    def __init__(self, read: Callable[[torch.Tensor], torch.Tensor], channels: int, features: int) -> None:
        super().__init__()
        self.read, self.conv, self.last = read, nn.Conv2d(3, channels, 4, stride=4), nn.Linear(features, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(torch.tanh(self.read(self.conv(images))).mean(dim=1))
        return logits


@pytest.mark.parametrize(
    "network",
    [
        _Read(lambda maps: maps.mean(2).transpose(1, 2), 12, 12),  # 8 columns: not 2 x 2 and 4 class tokens
        _Read(lambda maps: maps.flatten(2).topk(5)[0], 36, 5),  # 36 channels: not 6 x 6
    ],
    ids=["columns", "channels"],
)
def test_a_sequence_is_not_taken_for_a_grid_of_tokens(network: nn.Module) -> None:
    """The map is the last tensor whose positions are those of the image."""
    assert _parts(network.eval(), size=(32, 32)).layer == "conv"


class _ClassToken(nn.Module):
    """A network with 4 x 4 patches and a class token, which reads that token, or the mean, after mixing them."""

    def __init__(self, *, first: bool, mean: bool = False) -> None:
        super().__init__()
        self.mean = mean
        self.patches, self.mix, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 8), nn.Linear(8, 3)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.first = first

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches, token = self.patches(images).flatten(2).transpose(1, 2), self.token.expand(len(images), -1, -1)
        tokens = torch.cat([token, patches] if self.first else [patches, token], dim=1).relu()
        tokens = tokens + self.mix(tokens.mean(1, keepdim=True))
        logits: torch.Tensor = self.head(tokens.mean(1) if self.mean else tokens[:, 0 if self.first else -1])
        return logits


def test_a_class_token_that_does_not_come_first_is_refused() -> None:
    """Its heat would be drawn on the last patch, and that of each patch on the one before it."""
    assert _parts(_ClassToken(first=True).eval(), size=(16, 16)).layout.placeless == 1
    for mean in (False, True):
        with pytest.raises(ModelError, match="Token 16 of 17 has no place in the image"):
            _parts(_ClassToken(first=False, mean=mean).eval(), size=(16, 16))

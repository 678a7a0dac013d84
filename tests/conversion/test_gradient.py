"""The backward pass of a head as a graph."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from torch import nn

from src.conversion.capture import capture, export_batches
from src.conversion.convert import convert
from src.conversion.gradient import gradient_graph
from src.stages.input_spec import InputSpec

CLASSES = 4
CHANNELS = 6
# The features are images of this specification.
SPEC = InputSpec(resize=12, crop=(12, 10), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


class _Tokens(nn.Module):
    """The last block of a transformer, with attention, of which only the class token is read."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.LayerNorm(8), nn.Linear(8, CLASSES)
        self.embed, self.qkv = nn.Conv2d(CHANNELS, 8, 2, stride=2), nn.Linear(8, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        count, places, width = tokens.shape
        query, key, value = self.qkv(self.norm(tokens)).reshape(count, places, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        tokens = tokens + mixed.reshape(count, places, width)
        logits: torch.Tensor = self.last(nn.functional.gelu(tokens)[:, 0])
        return logits


class _WritesIntoPlaces(nn.Module):
    """Adds to some tokens in place, as some attention layers do to all except the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(CHANNELS, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = 2 * x.flatten(2).transpose(1, 2)
        tokens[:, 1:] += tokens.mean(dim=2, keepdim=True)[:, 1:]
        logits: torch.Tensor = self.last(torch.tanh(tokens).mean(dim=1))
        return logits


class _PlacesFirst(nn.Module):
    """A linear layer on tokens with the positions in the first dimension, as in torch's own attention."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.last = nn.Linear(CHANNELS, 64), nn.Linear(64, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).permute(2, 0, 1)
        logits: torch.Tensor = self.last(torch.tanh(self.one(tokens)).mean(dim=0))
        return logits


class _ChannelsLast(nn.Module):
    """LayerNorm over channels in the last dimension, as in ConvNeXt and Swin, between pooling and the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.adaptive_avg_pool2d(x, 1)
        normed = self.norm(pooled.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        logits: torch.Tensor = self.last(normed.flatten(1))
        return logits


def _linear(*layers: nn.Module) -> nn.Module:
    head = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(CLASSES))
    head(torch.zeros(1, CHANNELS, *SPEC.crop))
    return head


class _Powers(nn.Module):
    """Generalized-mean pooling with a learned power, as usually written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.power, self.last = nn.Parameter(torch.tensor([3.0])), nn.Linear(CHANNELS, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.avg_pool2d(x.clamp(min=1e-3).pow(self.power), x.shape[2:]).pow(1.0 / self.power)
        logits: torch.Tensor = self.last(pooled.flatten(1))
        return logits


class _Sum(nn.Module):
    """The sum of several heads, which is captured and converted faster than each on its own."""

    def __init__(self, *heads: nn.Module) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([head(x) for head in self.heads]).sum(dim=0)


def _heads() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    conv = nn.Conv2d
    return {
        "average pools": _Sum(
            _linear(nn.AdaptiveAvgPool2d(1)),
            _linear(nn.AdaptiveAvgPool2d((6, 5)), nn.Tanh()),  # whose windows divide the map evenly
            _linear(nn.AdaptiveAvgPool2d((5, 7)), nn.Tanh()),  # whose windows overlap
            _linear(nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), nn.Tanh()),
            _linear(nn.AvgPool2d((4, 2)), nn.Tanh()),
            _linear(nn.AvgPool2d(3, 2, 1, divisor_override=7), nn.Tanh()),
        ),
        "max pools": _Sum(
            _linear(nn.MaxPool2d(3, 2)), _linear(nn.MaxPool2d(3, 1, 1, dilation=2)), _linear(nn.AdaptiveMaxPool2d(2))
        ),
        "convolutions": _Sum(
            _linear(conv(CHANNELS, 8, 3, 2, 1), nn.ReLU()),
            _linear(conv(CHANNELS, 6, 3, padding=2, dilation=2, groups=3), nn.SiLU()),
            _linear(conv(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU()),
            _linear(nn.AdaptiveAvgPool2d(1), conv(CHANNELS, 9, 1), nn.Hardswish()),
            _linear(nn.ConvTranspose2d(CHANNELS, 3, 3, 2, 1), nn.Mish()),
        ),
        "wide 1 x 1 convolution": _linear(
            nn.AdaptiveAvgPool2d(1), conv(CHANNELS, 512, 1), nn.ReLU(), conv(512, 512, 1), nn.ReLU()
        ),
        "norms and squares": _Sum(
            _linear(nn.BatchNorm2d(CHANNELS), nn.ELU(), nn.AdaptiveAvgPool2d(1)),
            _linear(nn.GroupNorm(2, CHANNELS), nn.LeakyReLU(), nn.AdaptiveAvgPool2d(1)),
            _linear(nn.Softplus(), nn.LPPool2d(3, 2)),  # as in GeM
            _Powers(),
        ),
        "hidden layers": _linear(nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(7), nn.ReLU6(), nn.Dropout()),
        "channels last": _ChannelsLast(),
        "tokens": _Tokens(),
        "places first": _PlacesFirst(),
        "writes into places": _WritesIntoPlaces(),
    }


@pytest.mark.parametrize("head", [pytest.param(head, id=kind) for kind, head in _heads().items()])
def test_a_gradient_equals_automatic_differentiation(head: nn.Module, tmp_path: Path) -> None:
    """In torch and in OpenVINO, the graph returns the gradient of each image's score, whatever the head contains."""
    head = head.eval().requires_grad_(requires_grad=False)
    spec = SPEC.model_copy(update={"channels": CHANNELS})
    features = torch.randn(3, CHANNELS, *SPEC.crop, generator=torch.Generator().manual_seed(1))
    direction = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, -1]])
    leaf = features.clone().requires_grad_()
    (expected,) = torch.autograd.grad(head(leaf), leaf, direction)
    graph = gradient_graph(capture(head, spec), features, CLASSES)
    scale = float(expected.abs().max())
    size = sum(tensor.numel() for tensor in graph.state_dict().values())
    torch.testing.assert_close(graph(features, direction), expected, rtol=0, atol=1e-6 * scale)
    file = tmp_path / "gradient.xml"
    convert(export_batches(graph, features, direction), file)
    assert file.with_suffix(".bin").stat().st_size <= 4 * 4 * (size + features.numel())
    for count in (1, 3):
        found = _in_openvino(file, features[:count].numpy(), direction[:count].numpy())
        np.testing.assert_allclose(found, expected[:count].numpy(), rtol=0, atol=1e-5 * scale)


def _in_openvino(file: Path, *inputs: np.ndarray) -> np.ndarray:
    core = ov.Core()
    model = core.read_model(file)
    model.reshape({port: list(given.shape) for port, given in zip(model.inputs, inputs, strict=True)})
    found: np.ndarray = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(list(inputs))[0]
    return found


def test_a_gradient_equals_finite_differences() -> None:
    """The gradient equals central differences in float64."""
    torch.manual_seed(3)
    head = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Tanh(), nn.Flatten(), nn.LazyLinear(CLASSES)).eval()
    spec = InputSpec(resize=4, crop=(4, 3), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    features = torch.randn(1, *spec.shape, generator=torch.Generator().manual_seed(4))
    head(features)
    graph = gradient_graph(capture(head.requires_grad_(requires_grad=False), spec), features, CLASSES)
    direction = torch.tensor([[0.0, 1, 0, 0]])
    found = graph(features, direction)
    exact, step = head.double(), 1e-6
    for position in range(features.numel()):
        moved = torch.zeros(features.numel(), dtype=torch.float64)
        moved[position] = step
        ahead, behind = (exact(features.double() + sign * moved.view_as(features))[0, 1] for sign in (1, -1))
        assert float(found.view(-1)[position]) == pytest.approx(float(ahead - behind) / (2 * step), abs=1e-5)

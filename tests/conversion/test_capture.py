"""Capturing networks as graphs."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from src.conversion.capture import capture, random_images
from src.errors import ModelError
from src.stages.input_spec import InputSpec

SPEC = InputSpec(resize=16, crop=(16, 16), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
GRAY = SPEC.model_copy(update={"channels": 1, "mean": (0.5,), "std": (0.5,)})


class _Network(nn.Module):
    """A convolution, the subclass's change to its map, pooling and a linear layer."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.linear = nn.Conv2d(channels, 4, 3), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(self.changed(self.conv(x)).mean(dim=(2, 3)))
        return logits

    def changed(self, maps: torch.Tensor) -> torch.Tensor:
        return maps


class _Len(_Network):
    """A layer of torch's transformers behind the convolution, and a batch that is read with len()."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def changed(self, maps: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = self.layer(maps.view(len(maps), 4, -1).transpose(1, 2))
        return tokens.transpose(1, 2)[..., None]


class _InPlace(_Network):
    def changed(self, maps: torch.Tensor) -> torch.Tensor:
        kept = maps * 2
        functional.relu_(maps)  # the result is dropped, but maps has changed
        return kept + maps.add_(1)


class _PartInPlace(_Network):
    def changed(self, maps: torch.Tensor) -> torch.Tensor:
        maps[:, :2] += 1
        return maps


class _Branching(_Network):
    def changed(self, maps: torch.Tensor) -> torch.Tensor:
        return maps if self.training or maps.shape[1] == 3 else maps.relu()


class _Resized(_Network):
    def changed(self, maps: torch.Tensor) -> torch.Tensor:
        table = torch.linspace(-1, 1, 9).reshape(1, 1, 3, 3)
        return maps + functional.interpolate(table, maps.shape[2:], mode="bicubic", antialias=True)


class _Frozen(_Network):
    def changed(self, maps: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return maps.relu()


class _Autocast(_Network):
    def changed(self, maps: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return maps.relu()


class _Squeezing(_Network):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.conv(x).mean(dim=(2, 3), keepdim=True).squeeze()
        logits: torch.Tensor = self.linear(pooled[:, None].squeeze(1)).squeeze(0)
        return logits


@pytest.mark.parametrize(
    "network", [_Network(), _InPlace(), _PartInPlace(), _Branching(), _Resized(), _Frozen(), _Autocast()]
)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_captured_graph_returns_the_logits_of_its_network(network: nn.Module, count: int) -> None:
    """The logits are the same bit for bit, for any number of images."""
    captured = capture(network.eval(), SPEC)
    images = random_images(SPEC, count)
    with torch.no_grad():
        assert torch.equal(captured(images), network(images))


def test_squeezing_the_map_keeps_the_dimension_of_the_images() -> None:
    """One image gives logits (1, C), though the network's own squeeze() would also drop the one of the images."""
    network, images = _Squeezing().eval(), random_images(SPEC)
    captured = capture(network, SPEC)
    with torch.no_grad():
        torch.testing.assert_close(captured(images[:1]), network(images)[:1])


def test_in_place_operations_are_replaced() -> None:
    """An operation that overwrites its input is replaced with one that does not."""
    for network in (_InPlace(), _PartInPlace()):
        graph = capture(network.eval(), SPEC).graph
        targets = [node.target for node in graph.nodes if node.op == "call_function"]
        assert not [target for target in targets if getattr(target, "_schema", None) and target._schema.is_mutable]


@pytest.mark.parametrize("network", [_Frozen(), _Autocast()])
def test_what_runs_under_no_grad_or_autocast_is_captured_operation_by_operation(network: nn.Module) -> None:
    """The maps of a frozen backbone can be explained like all others."""
    targets = [str(node.target) for node in capture(network.eval(), SPEC).graph.nodes if node.op == "call_function"]
    assert targets[-4:] == [f"aten.{name}" for name in ("conv2d.default", "relu.default", "mean.dim", "linear.default")]


def test_constant_operations_are_computed_once() -> None:
    """A table that is resized to the input becomes a constant of the graph."""
    graph = capture(_Resized().eval(), SPEC).graph
    assert not [node for node in graph.nodes if node.op == "call_function" and "upsample" in str(node.target)]


def test_networks_with_one_channel_are_captured() -> None:
    """The number of channels comes only from the input specification."""
    network = _Network(1).eval()
    images = random_images(GRAY)
    assert images.shape == (2, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(capture(network, GRAY)(images), network(images))


class _Chooser(nn.Module):
    """A network that branches on the values of its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3)) if bool(x.sum() > 0) else x.amax(dim=(2, 3))


class _Twins(_Network):
    """A network with two outputs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x)
        return logits, logits + 1  # type: ignore[return-value] # the error under test


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (_Chooser(), "cannot be captured by torch.export"),
        (_Twins(), "returns a tensor .* and a tensor .* instead of logits"),
        (nn.Conv2d(3, 4, 3), "instead of logits"),
        (nn.Conv2d(1, 4, 3), "cannot be captured by torch.export: .*expected input.* to have 1 channels"),
    ],
    ids=["branches on values", "two outputs", "a map", "one channel"],
)
def test_networks_that_cannot_be_captured_are_refused(network: nn.Module, reason: str) -> None:
    """A network that branches on values, returns no logits or takes other images is refused with the reason."""
    with pytest.raises(ModelError, match=reason):
        capture(network.eval(), SPEC)


def test_the_batch_may_be_read_with_len() -> None:
    """A forward that asks for len(images) is captured for batches of any size, and can be differentiated.

    Torch then may run a transformer layer as one operation without a derivative.
    """
    network = _Len().eval().requires_grad_(requires_grad=False)
    images = random_images(SPEC, 3).requires_grad_()
    logits = capture(network, SPEC)(images)
    torch.testing.assert_close(logits, network(images))
    assert torch.autograd.grad(logits.sum(), images)[0].any()
    assert torch.backends.mha.get_fastpath_enabled()

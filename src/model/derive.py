"""A head in torch -> its closed form, where it has one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from src.model.closed_form import ClosedForm
from src.model.traced import GATHERING

__all__ = ["DerivedHead", "derive"]

_CHUNK: Final = 64  # channels at a time: a map for each of 2,048 channels at once would take a gigabyte
_TOLERANCE: Final = 1e-4  # of the largest value
_GATE: Final = 1e-2  # of the largest value: wide enough for rounding, the weights are compared anyway
_SEED: Final = 0
_PASSING: Final = (nn.Dropout, nn.Identity)


@dataclass(frozen=True, slots=True)
class DerivedHead:
    """A closed form, and a ``module`` that gives what it needs: features -> (hidden activations..., logits (N, C))."""

    form: ClosedForm
    module: nn.Module


def derive(head: nn.Module, features: torch.Tensor) -> DerivedHead | None:
    """Return the closed form of ``head``, or None where it has none.

    A linear head, such as one that pools and has one linear layer, is known by what it does, however it is written: a
    map that is one everywhere adds to the logits the sum of their gradients over all positions. A head with hidden
    layers is known by how it is built. Either has to give the weights that automatic differentiation gives.

    Args:
        head: features (N, K, h, w) -> logits (N, C).
        features: Those of some pictures.
    """
    for derived in _candidates(head, features):
        if derived is not None and _agrees(head, derived, features):
            return derived
    return None


def _candidates(head: nn.Module, features: torch.Tensor) -> Iterator[DerivedHead | None]:
    if _may_be_linear(head, features):
        yield DerivedHead(ClosedForm((_linear_matrix(head, features),)), _Logits(head))
    if isinstance(head, fx.GraphModule):
        yield _with_hidden_layers(head, features.shape[1])


class _Logits(nn.Module):
    """A head without hidden layers, in the form of one that has some."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.head(features),)


@torch.no_grad()
def _may_be_linear(head: nn.Module, features: torch.Tensor) -> bool:
    """Tell, by three runs, what many would find out: a head that clips or normalizes does not answer in proportion."""
    picture = features[:1]
    empty = head(torch.zeros_like(picture))
    double, negative = head(2 * picture) - empty, head(-picture) - empty
    return bool((double + 2 * negative).abs().max() <= _GATE * double.abs().max())


@torch.no_grad()
def _linear_matrix(head: nn.Module, features: torch.Tensor) -> NDArray[np.float32]:
    """Return (C, K): what a map that is one everywhere in one channel adds to the logits of an empty one."""
    _, channels, height, width = features.shape
    empty = head(torch.zeros(1, channels, height, width))
    columns = []
    for start in range(0, channels, _CHUNK):
        count = min(_CHUNK, channels - start)
        maps = torch.zeros(count, channels, height, width)
        maps[torch.arange(count), torch.arange(start, start + count)] = 1
        columns.append(head(maps) - empty)
    matrix: NDArray[np.float32] = torch.cat(columns).T.contiguous().numpy()
    return matrix


def _with_hidden_layers(head: fx.GraphModule, channels: int) -> DerivedHead | None:
    """Read ``pool* -> flatten -> (linear -> ReLU)* -> linear`` off the operations of ``head``."""
    chain = [node for node in head.graph.nodes if node.op not in {"placeholder", "output", "get_attr"}]
    modules = [head.get_submodule(str(node.target)) if node.op == "call_module" else None for node in chain]
    flatten = next((place for place, node in enumerate(chain) if node.target is torch.flatten), None)
    if flatten is None or any(len(node.all_input_nodes) != 1 for node in chain):
        return None
    before, after = modules[:flatten], modules[flatten + 1 :]
    behind = [module for module in after if not isinstance(module, _PASSING)]
    linears = [module for module in behind if isinstance(module, nn.Linear)]
    expected = [nn.Linear, *[nn.ReLU, nn.Linear] * (len(linears) - 1)]
    if not all(isinstance(module, GATHERING) for module in before) or list(map(type, behind)) != expected:
        return None
    first, *others = [linear.weight.detach() for linear in linears]
    layers = (first.reshape(len(first), channels, -1).sum(dim=2), *others)
    relus = [node for node, module in zip(chain, modules, strict=True) if isinstance(module, nn.ReLU)]
    return DerivedHead(ClosedForm(tuple(layer.numpy() for layer in layers)), _giving(head, relus))


def _giving(head: fx.GraphModule, nodes: list[fx.Node]) -> fx.GraphModule:
    """Return ``head`` with the values of ``nodes``, which are ReLUs, before its output."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in head.graph.nodes:
        if node.op != "output":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    (logits,) = head.graph.output_node().all_input_nodes
    graph.output((*(copies[node] for node in nodes), copies[logits]))
    module = fx.GraphModule(head, graph)
    for node in nodes:
        module.set_submodule(str(node.target), nn.ReLU())  # OpenVINO cannot give the result of one that works in place
    return module


def _agrees(head: nn.Module, derived: DerivedHead, features: torch.Tensor) -> bool:
    """Tell whether the closed form gives the Grad-CAM weights of automatic differentiation, for every class of some."""
    positions = features.shape[2] * features.shape[3]
    for picture in (features[:1], torch.randn(features[:1].shape, generator=torch.Generator().manual_seed(_SEED))):
        with torch.no_grad():
            *hidden, logits = (output[0].numpy() for output in derived.module(picture))
        leaf = picture.clone().requires_grad_()
        scores = head(leaf.clone())[0]
        for index in {int(logits.argmax()), int(logits.argmin()), len(logits) // 2}:
            (gradient,) = torch.autograd.grad(scores[index], leaf, retain_graph=True)
            expected = gradient[0].mean(dim=(1, 2)).numpy()
            found = derived.form.weights(index, hidden, positions)
            if not np.abs(found - expected).max() < _TOLERANCE * np.abs(expected).max():  # nor where all are zero
                return False
    return True

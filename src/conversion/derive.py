"""Derive the closed form of a head, if it has one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from src.conversion.capture import packet, tensor_of
from src.conversion.cut import POOLING, Cut
from src.runtimes.closed_form import ClosedForm
from src.stages.features import FeatureLayout

__all__ = ["Derived", "derive"]

aten: Final = torch.ops.aten
_CHUNK: Final = 64  # channels at a time: maps for all of 2,048 channels would take a gigabyte
_TOLERANCE: Final = 1e-4  # of the largest value
_GATE: Final = 1e-2  # of the largest value: wide, because the weights are compared later anyway
_SEED: Final = 0
_FLATTENING: Final = {aten.flatten.using_ints, aten.reshape.default, aten.view.default}
_PASSING: Final = {aten.dropout.default, aten.alias.default, aten.clone.default}


@dataclass(frozen=True, slots=True)
class Derived:
    """A closed form, and the operations of the captured network that compute the hidden activations it needs."""

    form: ClosedForm
    hidden: tuple[fx.Node, ...] = ()


def derive(cut: Cut, features: torch.Tensor) -> Derived | None:
    """Return the closed form of the head of ``cut``, or None if it has none.

    A linear head, such as pooling and one linear layer, is recognized by its behavior, however it is written: a map
    that is one everywhere adds the sum of the gradients over all positions to the logits. A head with hidden layers is
    recognized by its operations. The weights of both must equal those of automatic differentiation.

    Args:
        cut: A network with its head.
        features: The features (N, ...) of some images.
    """
    return next((derived for derived in _candidates(cut, features) if _agrees(cut, derived, features)), None)


def _candidates(cut: Cut, features: torch.Tensor) -> Iterator[Derived]:
    if _may_be_linear(cut.head, features):
        yield Derived(ClosedForm((_linear_matrix(cut),)))
    if derived := _with_hidden_layers(cut):
        yield derived


@torch.no_grad()
def _may_be_linear(head: fx.GraphModule, features: torch.Tensor) -> bool:
    """Return whether the head passes a quick test of three runs, which one that clips or normalizes fails."""
    image = features[:1]
    empty = head(torch.zeros_like(image))
    double, negative = head(2 * image) - empty, head(-image) - empty
    return bool((double + 2 * negative).abs().max() <= _GATE * double.abs().max())


@torch.no_grad()
def _linear_matrix(cut: Cut) -> NDArray[np.float32]:
    """Return (C, K): what one channel that is one everywhere adds to the logits of features that are all zero."""
    channels = cut.layout.channels
    empty = cut.head(_features_of(cut.layout, torch.zeros(1, *cut.layout.shape)))
    columns = []
    for start in range(0, channels, _CHUNK):
        count = min(_CHUNK, channels - start)
        maps = torch.zeros(count, *cut.layout.shape)
        maps[torch.arange(count), torch.arange(start, start + count)] = 1
        columns.append(cut.head(_features_of(cut.layout, maps)) - empty)
    matrix: NDArray[np.float32] = torch.cat(columns).T.contiguous().numpy()
    return matrix


def _features_of(layout: FeatureLayout, maps: torch.Tensor) -> torch.Tensor:
    """Return features that fold to ``maps`` (N, K, h, w); placeless tokens are zero."""
    if layout.axes == "NKhw":
        return maps
    last = maps.permute(0, 2, 3, 1).contiguous()
    if layout.axes == "NhwK":
        return last
    placed = last.flatten(1, 2)
    return torch.cat((placed.new_zeros(len(placed), layout.placeless, layout.channels), placed), dim=1)


def _with_hidden_layers(cut: Cut) -> Derived | None:
    """Return the closed form of a head ``pool* -> flatten -> (linear -> ReLU)* -> linear``, else None."""
    chain = [node for node in _chain(cut) if node.target not in _PASSING]
    flatten = next((place for place, node in enumerate(chain) if node.target in _FLATTENING), None)
    if flatten is None or cut.layout.axes != "NKhw":
        return None
    before, after = chain[:flatten], chain[flatten + 1 :]
    relus, linears = after[1::2], after[::2]
    if (
        set(map(packet, before)) <= POOLING
        and len(linears) == len(relus) + 1
        and all(node.target is aten.linear.default for node in linears)
        and all(node.target is aten.relu.default for node in relus)
    ):
        first, *others = (tensor_of(node.args[1]) for node in linears)
        layers = (first.reshape(len(first), cut.layout.channels, -1).sum(dim=2), *others)
        return Derived(ClosedForm(tuple(layer.numpy() for layer in layers)), tuple(relus))
    return None


def _chain(cut: Cut) -> list[fx.Node]:
    """Return the operations after the features if each is used only by the next, else an empty list."""
    chain: list[fx.Node] = []
    node = cut.features
    while len(node.users) == 1 and (node := next(iter(node.users))).op != "output":
        chain.append(node)
    return chain if node.op == "output" else []


def _agrees(cut: Cut, derived: Derived, features: torch.Tensor) -> bool:
    """Return whether the closed form equals automatic differentiation for some classes, on features and on noise."""
    others = torch.randn(features[:1].shape, generator=torch.Generator().manual_seed(_SEED))
    for image in (features[:1], others):
        leaf = image.clone().requires_grad_()
        outputs = cut.behind(derived.hidden)(leaf.clone())
        *hidden, logits = outputs if derived.hidden else (outputs,)
        for index in {int(logits[0].argmax()), int(logits[0].argmin()), logits.shape[1] // 2}:
            (gradient,) = torch.autograd.grad(logits[0, index], leaf, retain_graph=True)
            expected = cut.layout.fold(gradient).sum(dim=(2, 3)).numpy()
            direction = np.eye(logits.shape[1], dtype=np.float32)[[index]]
            found = derived.form.gradient(direction, *(one.detach().numpy() for one in hidden))
            if not np.abs(found - expected).max() < _TOLERANCE * np.abs(expected).max():  # also if all are zero
                return False
    return True

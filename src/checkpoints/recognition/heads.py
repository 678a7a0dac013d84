"""Layers put in order as a head, with the activations between them, or a question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Final

import torch
from torch import nn

from src.checkpoints.given import Activation
from src.checkpoints.recognition.layers import Layer
from src.errors import ModelError, Remedy

__all__ = ["ACTIVATIONS", "Head", "read_head"]

ACTIVATIONS: Final[Mapping[Activation, type[nn.Module]]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
}
_MODULE: Final = Remedy("module")
_MOST: Final = 6  # layers of a head


@dataclass(frozen=True, slots=True)
class Head:
    """Layers in their order, and the activation before each of them ("none" where nothing lies between)."""

    layers: tuple[Layer, ...]
    activations: tuple[Activation, ...]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.layers[-1].outputs

    def network(self) -> nn.Sequential:
        """Return the head, features (N, D) -> logits (N, C), without its weights."""
        steps: list[nn.Module] = []
        for layer, activation in zip(self.layers, self.activations, strict=True):
            steps += [ACTIVATIONS[activation](), layer.module()]
        return nn.Sequential(*steps)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return its weights by the names that :meth:`network` gives them."""
        found: dict[str, torch.Tensor] = {}
        for place, layer in enumerate(self.layers):
            counter = {"num_batches_tracked": torch.tensor(0)} if layer.kind == "norm" else {}
            found |= {f"{2 * place + 1}.{name}": tensor for name, tensor in {**layer.tensors, **counter}.items()}
        return found


def read_head(
    layers: Sequence[Layer], width: int, taken: str, activation: Activation | None, *, of_logits: bool
) -> Head:
    """Put ``layers`` in order after ``width`` values, which ``taken`` names, with the ``activation`` that was given.

    Before the first layer an activation may lie only ``of_logits``, which a layer of the same kind gives.

    Raises:
        ModelError: The file does not show how they belong together; the message says what would.
    """
    chain = _in_order(layers, width, taken)
    asked = [0] * of_logits + _asked_places(chain)
    bare = [layer for layer, after in _with_next(chain) if _is_bare(layer, after)]
    if (asked or bare) and activation is None:
        raise ModelError(
            _question(chain, asked, bare, taken), Remedy("activation", "none" if bare else "relu"), _MODULE
        )
    if activation is not None and not asked and not (bare and activation == "none"):
        raise ModelError(f"Behind {taken} there is no place for an activation: leave it out, or give your own class.")
    chosen: Activation = activation or "none"
    return Head(tuple(chain), tuple(chosen if place in asked else "none" for place in range(len(chain))))


def _question(chain: Sequence[Layer], asked: Sequence[int], bare: Sequence[Layer], taken: str) -> str:
    if bare:
        return (
            f"{bare[0].described} has no bias: it may normalize what it takes, as layers of ArcFace and other cosine"
            " heads do, and no file shows that. Say that it is a plain product, or give your own class:"
        )
    before = chain[asked[0] - 1].described if asked[0] else taken
    return (
        f"Between {before} and {chain[asked[0]].described} an activation may lie, which no file shows:"
        f" say which ({', '.join(ACTIVATIONS)}), or give your own class:"
    )


def _in_order(layers: Sequence[Layer], width: int, taken: str) -> list[Layer]:
    def fits(order: Sequence[Layer]) -> bool:
        sizes = [width, *(layer.outputs for layer in order)]
        return all(size == layer.inputs for size, layer in zip(sizes, order, strict=False))

    orders = [list(order) for order in permutations(layers) if fits(order)] if len(layers) <= _MOST else []
    if list(layers) in orders and (len(orders) == 1 or _are_in_one_sequential(layers)):
        return list(layers)
    if len(orders) == 1:
        return orders[0]
    named = ", ".join(layer.described for layer in layers[:_MOST])
    if any(layer.inputs == 2 * width for layer in layers):
        raise ModelError(
            f"{named} takes twice the {width} values of {taken}, as of several poolings: give your own class.", _MODULE
        )
    if sum(layer.inputs == width for layer in layers) > 1:
        raise ModelError(
            f"Several layers may take the {width} values of {taken}, and no file shows which answers: {named}."
            " Give your own class.",
            _MODULE,
        )
    raise ModelError(
        f"{named} cannot be put in order behind the {width} values of {taken}: give your own class.", _MODULE
    )


def _are_in_one_sequential(layers: Sequence[Layer]) -> bool:
    return all(after.follows(before) is not None for before, after in pairwise(layers))


def _asked_places(chain: Sequence[Layer]) -> list[int]:
    """Return before which layers an activation may lie: where other layers lie in a Sequential, or it is in none.

    Raises:
        ModelError: There are several such places around a batch norm.
    """
    norms = [layer for layer in chain if layer.kind == "norm"]
    if norms and (not _are_in_one_sequential(chain) or chain[-1].kind == "norm"):
        raise ModelError(f"A file does not show what surrounds {norms[0].name}: give your own class.", _MODULE)
    asked: list[int] = []
    since_linear: list[int] = []
    for place in range(1, len(chain)):
        if chain[place].follows(chain[place - 1]) != 0:
            since_linear.append(place)
        if chain[place].kind == "linear":
            starts_with_norm = all(layer.kind == "norm" for layer in chain[:place])
            if len(since_linear) > 1 or (since_linear and starts_with_norm):
                raise ModelError(f"A file does not show what surrounds {norms[0].name}: give your own class.", _MODULE)
            asked += since_linear
            since_linear = []
    return asked


def _with_next(chain: Sequence[Layer]) -> list[tuple[Layer, Layer | None]]:
    return list(zip(chain, [*chain[1:], None], strict=True))


def _is_bare(layer: Layer, after: Layer | None) -> bool:
    """Return whether a linear layer has no bias, and no batch norm right behind it that would make one useless."""
    normed = after is not None and after.kind == "norm" and after.follows(layer) == 0
    return layer.kind == "linear" and not layer.has_bias and not normed

"""Put layers in order as a head, with the activations between them, or ask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations, zip_longest
from typing import Final

import torch
from torch import nn

from src.checkpoints.given import Activation, needs_own_class
from src.checkpoints.recognition.layers import Layer
from src.checkpoints.tensors import COUNTER
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
    """Layers in order, and the activation before each ("none" if there is no activation)."""

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
            counter = {COUNTER: torch.tensor(0)} if layer.kind == "norm" else {}
            found |= {f"{2 * place + 1}.{name}": tensor for name, tensor in {**layer.tensors, **counter}.items()}
        return found


def read_head(
    layers: Sequence[Layer], width: int, taken: str, activation: Activation | None, *, of_logits: bool
) -> Head:
    """Put ``layers`` in order after ``width`` values, described by ``taken``, with the given ``activation``.

    An activation may precede the first layer only if the values are ``of_logits``, from a linear layer.

    Raises:
        ModelError: The file does not show how they are connected; the message says which option does.
    """
    chain = _in_order(layers, width, taken)
    asked = [0] * of_logits + _asked_places(chain)
    bare = [layer for layer, after in zip_longest(chain, chain[1:]) if _is_bare(layer, after)]
    if (asked or bare) and activation is None:
        raise ModelError(
            _question(chain, asked, bare, taken), Remedy("activation", "none" if bare else "relu"), _MODULE
        )
    if activation is not None and not asked and not (bare and activation == "none"):
        raise ModelError(f"No activation can follow {taken}: omit it, or give your own class.", _MODULE)
    chosen: Activation = activation or "none"
    return Head(tuple(chain), tuple(chosen if place in asked else "none" for place in range(len(chain))))


def _question(chain: Sequence[Layer], asked: Sequence[int], bare: Sequence[Layer], taken: str) -> str:
    if bare:
        return (
            f"{bare[0].described} has no bias: it may normalize its input, as layers of ArcFace and other cosine"
            " heads do, and the file does not show that. Say that it is a plain linear layer, or give your own class."
        )
    before = chain[asked[0] - 1].described if asked[0] else taken
    return (
        f"An activation may lie between {before} and {chain[asked[0]].described}, but the file does not show it:"
        f" say which ({', '.join(ACTIVATIONS)}), or give your own class."
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
        raise needs_own_class(f"{named} takes twice the {width} values of {taken}, as after two poolings")
    if sum(layer.inputs == width for layer in layers) > 1:
        raise ModelError(
            f"Several layers fit the {width} values of {taken}, and the file does not show which one answers: {named}."
            " Give your own class.",
            _MODULE,
        )
    raise needs_own_class(f"{named} cannot be put in order behind the {width} values of {taken}")


def _are_in_one_sequential(layers: Sequence[Layer]) -> bool:
    return all(after.follows(before) is not None for before, after in pairwise(layers))


def _asked_places(chain: Sequence[Layer]) -> list[int]:
    """Return the layers that an activation may precede: after a gap in a Sequential, or outside of one.

    Raises:
        ModelError: There are several such places around a batch norm.
    """
    norms = [layer for layer in chain if layer.kind == "norm"]
    if norms and (not _are_in_one_sequential(chain) or chain[-1].kind == "norm"):
        raise needs_own_class(f"A file does not show what surrounds {norms[0].name}")
    asked: list[int] = []
    since_linear: list[int] = []
    for place in range(1, len(chain)):
        if chain[place].follows(chain[place - 1]) != 0:
            since_linear.append(place)
        if chain[place].kind == "linear":
            starts_with_norm = all(layer.kind == "norm" for layer in chain[:place])
            if len(since_linear) > 1 or (since_linear and starts_with_norm):
                raise needs_own_class(f"A file does not show what surrounds {norms[0].name}")
            asked += since_linear
            since_linear = []
    return asked


def _is_bare(layer: Layer, after: Layer | None) -> bool:
    """Return whether a linear layer has no bias and no batch norm directly after it that would make a bias useless."""
    normed = after is not None and after.kind == "norm" and after.follows(layer) == 0
    return layer.kind == "linear" and not layer.has_bias and not normed

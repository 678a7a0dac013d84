"""Find the layers of a head, linear layers and batch norms, among tensors under any names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

__all__ = ["Layer", "layers_of"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer with its ``name`` in the file and its tensors: linear (out, in) or a batch norm (in)."""

    name: str
    kind: Literal["linear", "norm"]
    tensors: Mapping[str, torch.Tensor]

    @property
    def inputs(self) -> int:
        """Number of input values."""
        return self.tensors["weight"].shape[-1]

    @property
    def outputs(self) -> int:
        """Number of output values."""
        return self.tensors["weight"].shape[0]

    @property
    def has_bias(self) -> bool:
        """Whether it has a bias."""
        return "bias" in self.tensors

    @property
    def described(self) -> str:
        """Its name and its numbers of inputs and outputs."""
        return f"{self.name} ({self.inputs} -> {self.outputs})"

    def follows(self, other: "Layer") -> int | None:
        """Return how many layers lie between ``other`` and this one in a Sequential; None if they do not share one."""
        (ours, _, here), (theirs, _, there) = self.name.rpartition("."), other.name.rpartition(".")
        if ours != theirs or not (here.isdecimal() and there.isdecimal()) or int(here) <= int(there):
            return None
        return int(here) - int(there) - 1

    def module(self) -> nn.Module:
        """Return an empty layer of this kind."""
        if self.kind == "norm":
            return nn.BatchNorm1d(self.inputs)
        return nn.Linear(self.inputs, self.outputs, bias=self.has_bias)


def layers_of(tensors: Mapping[str, torch.Tensor]) -> list[Layer] | None:
    """Return the layers of ``tensors`` in order; None if some belong to neither a linear layer nor a batch norm."""
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        groups.setdefault(layer, {})[kind] = tensor
    layers = [_layer(name, group) for name, group in groups.items()]
    return [layer for layer in layers if layer is not None] if all(layers) else None


def _layer(name: str, group: Mapping[str, torch.Tensor]) -> Layer | None:
    weight, bias = group.get("weight"), group.get("bias")
    if weight is None or (bias is not None and tuple(bias.shape) != (weight.shape[0],)):
        return None
    if group.keys() <= {"weight", "bias"} and weight.ndim == 2:  # noqa: PLR2004 - a matrix
        return Layer(name, "linear", dict(group))
    of_norm = {"weight", "bias", "running_mean", "running_var"}
    if group.keys() == of_norm and all(tensor.shape == weight.shape for tensor in group.values()) and weight.ndim == 1:
        return Layer(name, "norm", dict(group))
    return None

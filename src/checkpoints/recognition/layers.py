"""Find the layers of a head among tensors under any names, and compare those of a whole pickled network."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import nn

from src.checkpoints.reading.stand_ins import StandIn, fields
from src.checkpoints.recognition.parts import unwrapped
from src.errors import ModelError, Remedy

__all__ = ["Layer", "check_modules", "layers_of"]

_OF_TORCH: Final = "torch.nn.modules."
_OF_LIBRARIES: Final = ("timm.", "torchvision.")
_SYNCHRONIZED: Final = "SyncBatchNorm"
_WITHOUT_EFFECT: Final = re.compile(r"Identity|Flatten|\w*Drop(out|Path|Block)\w*|StochasticDepth")
# Fields of torch's layers that affect answers in evaluation, and that no tensor shows.
_FIELDS: Final = (
    *("stride", "padding", "dilation", "groups", "padding_mode", "kernel_size", "output_size", "ceil_mode", "eps"),
    *("negative_slope", "approximate", "count_include_pad"),
)


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


def check_modules(modules: Mapping[str, StandIn], prefix: str, network: nn.Module) -> None:
    """Refuse if ``modules`` of a pickled network, under ``prefix``, differ from those of ``network``.

    Only layers of torch, and those of the user's own in their place, are compared: libraries rename theirs.

    Raises:
        ModelError: A layer is another one, or has other settings; the message names it.
    """
    plain = {unwrapped(name): module for name, module in modules.items()}
    for name, own in network.named_modules():
        place = ".".join(filter(None, (prefix, name)))
        stored = plain.get(place)
        if stored is not None and (difference := _difference(stored, own)):
            raise ModelError(
                f"The file holds a whole network, whose {place} is {difference}: give your own class.", Remedy("module")
            )


def _difference(stored: StandIn, own: nn.Module) -> str | None:
    theirs, ours = stored.called.rpartition(".")[2], type(own).__name__
    if not type(own).__module__.startswith(_OF_TORCH) or isinstance(own, nn.Identity | nn.Sequential):
        return None
    held = fields(stored)
    if not own.state_dict() and (held["_modules"] or held["_parameters"]):  # of a head, which is read by its tensors
        return None
    if theirs != ours and not (theirs == _SYNCHRONIZED and isinstance(own, nn.BatchNorm2d)):
        is_alike = stored.called.startswith(_OF_LIBRARIES) or _are_without_effect(theirs, ours)
        return None if is_alike else f"{_article(theirs)} instead of {_article(ours)}"
    for name in _FIELDS:
        if name in held and hasattr(own, name) and _single(held[name]) != _single(getattr(own, name)):
            return f"{_article(ours)} with the {name} {held[name]} instead of {getattr(own, name)}"
    return None


def _are_without_effect(*names: str) -> bool:
    return all(_WITHOUT_EFFECT.fullmatch(name) for name in names)


def _article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"


def _single(value: Any) -> Any:  # noqa: ANN401 - whatever a layer has
    """Return the number that a pair of equal ones stands for."""
    return value[0] if isinstance(value, tuple | list) and value and all(one == value[0] for one in value) else value

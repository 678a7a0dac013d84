"""Check that tensors are exactly those of a network, and load them."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from src.checkpoints.given import some_of
from src.errors import ModelError

__all__ = ["COUNTER", "describe_faults", "load_weights"]

COUNTER: Final = "num_batches_tracked"  # of a batch norm; missing in checkpoints of old torch versions
_FAULTS_SHOWN: Final = 5
_ALIGNMENT: Final = 64  # bytes; where torch puts its own tensors


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load ``weights`` into ``network``; each must exist in both, with the same shape.

    Memory is shared, except for tensors of another precision, memory order or alignment, as in a mapped file: these are
    copied, since they would change the last digits of the answers.

    Raises:
        ModelError: Some tensors are missing, surplus or of another shape; the message names them.
    """
    expected = network.state_dict()
    faults = describe_faults(expected, weights)
    if faults:
        raise ModelError(f"The weights do not fit the network: {faults}.")
    shared = {name for name, tensor in weights.items() if _lies_like(tensor, expected[name])}
    for names in (shared, weights.keys() - shared):
        part = OrderedDict((name, weights[name]) for name in names)
        # mnasnet reads its version here; torch modifies the mapping that it gets.
        part._metadata = copy.deepcopy(expected._metadata)  # type: ignore[attr-defined] # noqa: SLF001
        network.load_state_dict(part, strict=False, assign=names is shared)


def _lies_like(tensor: torch.Tensor, expected: torch.Tensor) -> bool:
    alike = (tensor.dtype, tensor.stride()) == (expected.dtype, expected.stride())
    return alike and tensor.data_ptr() % _ALIGNMENT == 0


def describe_faults(expected: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> str:
    """Name the tensors that are missing, surplus or of another shape than ``expected``; empty if none are."""
    faults = [f"{name} is missing" for name in expected if name not in weights]
    faults += [f"{name} is not part of the network" for name in weights if name not in expected]
    faults += [
        f"{name} has the shape {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    return some_of(faults, _FAULTS_SHOWN, by="; ")

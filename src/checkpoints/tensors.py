"""Whether tensors are just those of a network."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from src.errors import ModelError

__all__ = ["describe_faults", "load_weights"]

_FAULTS_SHOWN: Final = 5
_ALIGNMENT: Final = 64  # bytes; where torch puts its own tensors


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Make ``weights`` those of ``network``; every one must be there, known, and of the right shape.

    Their memory is shared, but for those in another precision, and those that lie there in another order or at odd
    addresses, as in a mapped file: the last digits of the answers would be others.

    Raises:
        ModelError: Names the tensors that are missing, surplus or of another shape.
    """
    expected = network.state_dict()
    faults = describe_faults(expected, weights)
    if faults:
        raise ModelError(f"The weights do not fit the network: {faults}.")
    shared = {name for name, tensor in weights.items() if _lies_like(tensor, expected[name])}
    for names in (shared, weights.keys() - shared):
        part = OrderedDict((name, weights[name]) for name in names)
        # mnasnet asks for its version; torch writes into what it is given.
        part._metadata = copy.deepcopy(expected._metadata)  # type: ignore[attr-defined] # noqa: SLF001
        network.load_state_dict(part, strict=False, assign=names is shared)


def _lies_like(tensor: torch.Tensor, expected: torch.Tensor) -> bool:
    alike = (tensor.dtype, tensor.stride()) == (expected.dtype, expected.stride())
    return alike and tensor.data_ptr() % _ALIGNMENT == 0


def describe_faults(expected: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> str:
    """Say which tensors are missing, surplus or of another shape than ``expected``; nothing if all is well."""
    faults = [f"{name} is missing" for name in expected if name not in weights]
    faults += [f"{name} is not part of the network" for name in weights if name not in expected]
    faults += [
        f"{name} has the shape {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    more = f" and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
    return "; ".join(faults[:_FAULTS_SHOWN]) + more

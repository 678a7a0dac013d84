"""Whether tensors are just those of a network."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from src.errors import ModelError

__all__ = ["describe_faults", "load_weights"]

_FAULTS_SHOWN: Final = 5


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Make ``weights`` those of ``network``, which shares their memory; every one must be there, known, and fit.

    Those in another precision are brought to the network's.

    Raises:
        ModelError: Names the tensors that are missing, surplus or of another shape.
    """
    expected = network.state_dict()
    faults = describe_faults(expected, weights)
    if faults:
        raise ModelError(f"The weights do not fit the network: {faults}.")
    network.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in weights.items()}, assign=True)


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

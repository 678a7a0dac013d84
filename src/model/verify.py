"""The checks that a network passes before it is stored."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from src.errors import ModelError
from src.model.split import SplitNetwork

__all__ = ["Verification", "verify"]

_PROBES: Final = 2


@dataclass(frozen=True, slots=True)
class Verification:
    """The largest differences between the logits of the whole network and those of another form of it.

    ``split``: of backbone and head, one after the other; ``stored``: of what was read back from the written files.
    """

    split: float
    stored: float


def verify(network: nn.Module, parts: SplitNetwork, stored: SplitNetwork, input_size: tuple[int, int]) -> Verification:
    """Compare three forms of one network on seeded random pictures of ``input_size`` (height, width).

    Raises:
        ModelError: A logit is not finite, or no logit depends on the features, so that nothing can be explained.
    """
    probes = 2 * torch.rand(_PROBES, 3, *input_size, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        logits = network(probes)
        features = parts.backbone(probes)
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("The network gives logits that are not finite: its weights are damaged.")
    _check_gradient(parts.head, features)
    return Verification(_difference(logits, parts, probes), _difference(logits, stored, probes))


def _difference(logits: torch.Tensor, parts: SplitNetwork, probes: torch.Tensor) -> float:
    """Return the largest absolute difference between ``logits`` (N, C) and those of ``parts``."""
    with torch.no_grad():
        return float((parts.head(parts.backbone(probes)) - logits).abs().max())


def _check_gradient(head: nn.Module, features: torch.Tensor) -> None:
    leaf = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(head(leaf.clone()).max(dim=1).values.sum(), leaf)
    if not bool(torch.isfinite(gradient).all() and gradient.any()):
        raise ModelError("The answers of the network do not depend on its features: Grad-CAM cannot explain them.")

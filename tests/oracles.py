"""Grad-CAM in the original network, as an oracle for Grad-CAM through the captured head alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

from src.stages.features import FeatureLayout

__all__ = ["Oracle", "whole_backward"]


@dataclass(frozen=True, slots=True)
class Oracle:
    """A Grad-CAM heatmap, summed in float64, and how far rounding alone may take one in float32 from it."""

    heat: NDArray[np.float64]
    tolerance: float


def whole_backward(
    network: nn.Module, image: torch.Tensor, features: torch.Tensor, layout: FeatureLayout
) -> list[tuple[Oracle, Oracle]]:
    """Return the Grad-CAM heatmaps for and against every class, differentiating the untouched ``network`` as it runs.

    The Grad-CAM layer is whatever tensor in its run has the shape and the values of ``features`` (1, ...).
    """
    with torch.enable_grad(), _Watch(features) as watch:
        logits = network(image)[0]
    assert watch.found is not None, "no tensor in the network has the values of the features"
    maps = layout.fold(watch.found.detach()).double()
    oracles = []
    for logit in logits:
        (gradient,) = torch.autograd.grad(logit, watch.found, retain_graph=True)
        terms = layout.fold(gradient).double().mean(dim=(2, 3), keepdim=True) * maps
        oracles.append((_oracle(terms[0]), _oracle(-terms[0])))
    return oracles


def _oracle(terms: torch.Tensor) -> Oracle:
    """Sum ``terms`` (K, h, w); where they cancel out, their own rounding weighs more in what remains."""
    heat = terms.sum(dim=0).clamp(min=0)
    peak = float(heat.max())
    if peak == 0:
        return Oracle(heat.numpy(), 0)
    cancelling = float(terms.abs().sum(dim=0).max()) / peak
    return Oracle((heat / peak).numpy(), 4 * torch.finfo(torch.float32).eps * cancelling)


class _Watch(TorchFunctionMode):
    """Keeps the last tensor that equals ``features`` among all that operations give, and records from there on.

    What led to it needs no record, which would take gigabytes with big networks.
    """

    def __init__(self, features: torch.Tensor) -> None:
        super().__init__()
        self.features = features
        self.found: torch.Tensor | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():
            if isinstance(result, torch.Tensor) and torch.equal(result.detach(), self.features):
                self.found = result.detach().clone().requires_grad_()
                return self.found.clone()  # the network may write into this one
        return result

"""Grad-CAM in the untouched network as it runs, as an oracle of the product's way through the head alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["Oracle", "whole_backward"]


@dataclass(frozen=True, slots=True)
class Oracle:
    """A Grad-CAM heatmap, summed in float64, and how far rounding alone may take one in float32 from it."""

    heat: NDArray[np.float64]
    tolerance: float


def whole_backward(network: nn.Module, picture: torch.Tensor, features: torch.Tensor) -> list[tuple[Oracle, Oracle]]:
    """Return the Grad-CAM heatmaps for and against every class, differentiating the untouched ``network`` as it runs.

    The Grad-CAM layer is whatever tensor in its run has the values of ``features`` (1, K or more, h, w), be it made of
    maps (1, K, h, w), of maps with channels last (1, h, w, K), or of tokens (1, T, K), the last h w with places.
    """
    with torch.enable_grad(), _Watch(features) as watch:
        logits = network(picture)[0]
    assert watch.found is not None, "no tensor in the network has the values of the features"
    height, width = features.shape[2:]
    maps = _as_maps(watch.found.detach(), height, width).double()
    oracles = []
    for logit in logits:
        (gradient,) = torch.autograd.grad(logit, watch.found, retain_graph=True)
        terms = _as_maps(gradient, height, width).double().mean(dim=(2, 3), keepdim=True) * maps
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


def _as_maps(tensor: torch.Tensor, height: int, width: int) -> torch.Tensor:
    if tensor.ndim == 3:
        return tensor[:, -height * width :].transpose(1, 2).reshape(len(tensor), -1, height, width)
    return tensor if tuple(tensor.shape[2:]) == (height, width) else tensor.permute(0, 3, 1, 2)


class _Watch(TorchFunctionMode):
    """Keeps the last tensor with the values of ``features`` among all that operations give, and records from there on.

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
            if isinstance(result, torch.Tensor) and self._matches(result):
                self.found = result.detach().clone().requires_grad_()
                return self.found.clone()  # the network may write into this one
        return result

    def _matches(self, tensor: torch.Tensor) -> bool:
        _, channels, height, width = self.features.shape
        positions = math.prod({3: tensor.shape[1:2], 4: tensor.shape[1:]}.get(tensor.ndim, ()))
        if positions < height * width or math.ceil(tensor.numel() / (height * width)) != channels:
            return False
        maps = _as_maps(tensor.detach(), height, width)
        return maps.shape[2:] == (height, width) and torch.equal(maps, self.features[:, : maps.shape[1]])

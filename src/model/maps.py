"""Finding the map in a feature tensor: tokens and channels-last tensors are folded to (N, K, h, w) and back."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import nn
from torchvision.ops import Permute

__all__ = ["Folding", "find_map"]

_MAX_PLACELESS: Final = 16  # class, distillation and register tokens; more than this and the tokens are no grid


@dataclass(frozen=True, slots=True)
class Folding:
    """How a network's own features become maps and maps its own features again: ``unfold(fold(x))`` is ``x``.

    ``fold``: features as the network has them -> (N, K + E, h, w), with ``channels`` = K maps. The E further channels
    carry the tokens that have no place in the picture; ``unfold`` lets no gradient through to them, so that their
    Grad-CAM weight is exactly zero and the heatmap is that of the K maps.
    ``shape``: (K + E, h, w).
    """

    fold: nn.Module
    unfold: nn.Module
    channels: int
    shape: tuple[int, int, int]


def find_map(shape: tuple[int, ...], input_size: tuple[int, int]) -> Folding | None:
    """Return how to fold features of ``shape`` to maps with the aspect of ``input_size`` (height, width), if possible.

    Maps are (N, K, h, w), as convolutions make them; (N, h, w, K), as Swin does; or tokens (N, T, K), as ViT does.
    """
    if len(shape) == len("NTK"):
        return _tokens(shape[1], shape[2], input_size)
    if len(shape) != len("NKhw"):
        return None
    _, first, second, last = shape
    if _has_aspect(second, last, input_size):
        return Folding(nn.Identity(), nn.Identity(), first, (first, second, last))
    if _has_aspect(first, second, input_size):
        return Folding(Permute([0, 3, 1, 2]), Permute([0, 2, 3, 1]), last, (last, first, second))
    return None


def _has_aspect(height: int, width: int, input_size: tuple[int, int]) -> bool:
    """Tell whether a map of ``height`` x ``width`` positions may come from a picture, but for rounding."""
    return min(height, width) > 1 and abs(width - height * input_size[1] / input_size[0]) <= 1


def _tokens(count: int, channels: int, input_size: tuple[int, int]) -> Folding | None:
    """Fold tokens to the finest grid of the picture's aspect that they fill; those left over come first."""
    for height in range(input_size[0], 1, -1):
        width = round(height * input_size[1] / input_size[0])
        placeless = count - height * width
        if placeless >= 0:
            break
    else:
        return None
    if placeless > _MAX_PLACELESS or min(width, channels) == 1:
        return None
    grid = _Grid(height, width, channels, placeless)
    return Folding(_Fold(grid), _Unfold(grid), channels, (channels + grid.carriers, height, width))


@dataclass(frozen=True, slots=True)
class _Grid:
    """Tokens (N, T, K): first ``placeless`` ones, then ``height`` x ``width`` ones, row by row, of K ``channels``."""

    height: int
    width: int
    channels: int
    placeless: int

    @property
    def carriers(self) -> int:
        """How many maps of height x width hold the values of the placeless tokens."""
        return -(-self.placeless * self.channels // (self.height * self.width))


class _Fold(nn.Module):
    """Tokens (N, T, K) -> (N, K + E, h, w): the maps, then the placeless tokens, padded with zeros."""

    def __init__(self, grid: _Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        grid = self.grid
        size = (grid.height, grid.width)
        maps = tokens[:, grid.placeless :].transpose(1, 2).reshape(len(tokens), grid.channels, *size)
        padding = grid.carriers * grid.height * grid.width - grid.placeless * grid.channels
        carried = nn.functional.pad(tokens[:, : grid.placeless].flatten(1), (0, padding))
        return torch.cat((maps, carried.reshape(len(tokens), grid.carriers, *size)), dim=1)


class _Unfold(nn.Module):
    """(N, K + E, h, w) -> tokens (N, T, K), with a gradient for the maps alone."""

    def __init__(self, grid: _Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        grid = self.grid
        placed = features[:, : grid.channels].flatten(2).transpose(1, 2)
        carried = features[:, grid.channels :].detach().flatten(1)[:, : grid.placeless * grid.channels]
        return torch.cat((carried.reshape(len(features), grid.placeless, grid.channels), placed), dim=1)

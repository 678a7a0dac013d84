"""A network, split at its Grad-CAM layer into backbone and head."""

from dataclasses import dataclass
from typing import Final

import torch
from timm.models import VGG
from torch import fx, nn

from src.errors import ModelError
from src.model.maps import Folding, find_map
from src.model.traced import Traced

__all__ = ["SplitNetwork", "split"]

_TIMM_LAYER: Final = "forward_features"
_LATEST_SHARE: Final = 0.5  # of the spatial nodes: an earlier one shows what the picture looks like, not what it is


@dataclass(frozen=True, slots=True)
class SplitNetwork:
    """A network in two parts: ``head(backbone(x))`` is ``network(x)``.

    ``backbone``: images (N, 3, H, W) -> features (N, K, h, w), the last spatial feature map. Where a network has
    tokens without a place in the picture (a class token), further channels carry these; no gradient comes back to them.
    ``head``: features (N, K, h, w) -> logits (N, C).
    """

    backbone: nn.Module
    head: nn.Module
    layer: str


def split(network: nn.Module, input_size: tuple[int, int], layer: str | None = None) -> SplitNetwork:
    """Split ``network`` at ``layer``, or at the layer that Grad-CAM wants.

    That is the last spatial feature map which everything behind it depends on and whose places reach the answer. (What
    the last block of a ViT makes of its patches is not read when the class token alone is: its input is.)

    Args:
        network: A classification network of torchvision or timm, or any other that ``torch.fx`` can trace.
        input_size: (height, width) of its input in pixels.
        layer: The ``layer`` of an earlier split of the same architecture, or the name of a module: its output.

    Raises:
        ModelError: The network has no such layer, or no spatial feature map that everything behind it depends on.
    """
    if isinstance(network, VGG) and layer in {None, _before_pooling(network)}:
        return _split_vgg(network, input_size)
    if layer in {None, _TIMM_LAYER} and hasattr(network, "forward_features") and hasattr(network, "forward_head"):
        parts = _split_timm(network, input_size)
        if parts is not None:
            return parts
    traced = Traced(network, input_size)
    return _split_last(traced) if layer is None else _split_at(traced, traced.named(layer))


def _before_pooling(network: VGG) -> str:
    return f"features.{len(network.features) - 2}"


def _split_vgg(network: VGG, input_size: tuple[int, int]) -> SplitNetwork:
    """Split timm's VGG, which torch.fx cannot trace, before the last max-pool: its features end behind it."""
    backbone, head = network.features[:-1], nn.Sequential(network.features[-1], _Part(network, "forward_head"))
    folding = _folding(backbone, input_size)
    if folding is None:
        raise ModelError(f"Of pictures of {input_size} pixels this network makes no map: give larger ones with --crop.")
    return _joined(backbone, head, _before_pooling(network), folding)


def _split_timm(network: nn.Module, input_size: tuple[int, int]) -> SplitNetwork | None:
    """Split between the two methods that timm's networks have, if what passes between them is a map that is read."""
    backbone, head = _Part(network, "forward_features"), _Part(network, "forward_head")
    folding = _folding(backbone, input_size)
    return _joined(backbone, head, _TIMM_LAYER, folding) if folding and _is_read(head, folding) else None


def _split_at(traced: Traced, cut: fx.Node) -> SplitNetwork:
    name, folding, head = traced.names[cut], traced.maps.get(cut), traced.after(cut)
    if folding is None:
        raise ModelError(f"The layer {name} gives no map of places: choose another.")
    if not _is_read(head, folding):
        raise ModelError(f"The answer does not depend on the map of {name}: choose an earlier layer.")
    return _joined(traced.until(cut), head, name, folding)


def _split_last(traced: Traced) -> SplitNetwork:
    candidates = [node for node in traced.maps if not traced.only_gathers(node)]
    late = candidates[int(len(candidates) * _LATEST_SHARE) :]
    junctions = traced.junctions()
    for cut in reversed(late):
        if cut in junctions and _is_read(head := traced.after(cut), traced.maps[cut]):
            return _joined(traced.until(cut), head, traced.names[cut], traced.maps[cut])
    if late:
        raise ModelError(
            "This network reads several feature maps side by side, none that all the others pass: no Grad-CAM."
        )
    raise ModelError("This network has no spatial feature map: it cannot be explained by Grad-CAM.")


def _joined(backbone: nn.Module, head: nn.Module, layer: str, folding: Folding) -> SplitNetwork:
    if isinstance(folding.fold, nn.Identity):
        return SplitNetwork(backbone, head, layer)
    return SplitNetwork(nn.Sequential(backbone, folding.fold), nn.Sequential(folding.unfold, head), layer)


def _folding(backbone: nn.Module, input_size: tuple[int, int]) -> Folding | None:
    with torch.inference_mode():
        features = backbone(torch.zeros(1, 3, *input_size))
    return find_map(features.shape, input_size) if isinstance(features, torch.Tensor) else None


def _is_read(head: nn.Module, folding: Folding) -> bool:
    """Tell whether the places of the map reach the logits: NaN put there does, whatever the weights are."""
    features = torch.ones(1, *folding.shape)
    features[:, : folding.channels] = torch.nan
    with torch.inference_mode():
        logits = head(folding.unfold(features))
    if not isinstance(logits, torch.Tensor) or logits.ndim != len("NC"):
        raise ModelError(f"This network gives {_described(logits)} instead of logits (N, C): no Grad-CAM.")
    return bool(logits.isnan().any())


def _described(output: object) -> str:
    return f"a tensor {tuple(output.shape)}" if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"


class _Part(nn.Module):
    """One half of a timm network: calls one of its methods."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network = network
        self._method = method

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = getattr(self.network, self._method)(x)
        return result

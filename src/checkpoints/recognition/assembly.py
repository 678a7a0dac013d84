"""Build and load a network of a library, or its trunk followed by a head."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import nn

from src.checkpoints.given import needs_own_class
from src.checkpoints.inputs.published import published_input
from src.checkpoints.network import build_to_load
from src.checkpoints.recognition.bodies import Body
from src.checkpoints.recognition.heads import Head
from src.checkpoints.recognition.stems import put_stem
from src.checkpoints.recognition.trunks import build_trunk
from src.checkpoints.tensors import load_weights

__all__ = ["Features", "assemble", "make_body", "measure", "random_image"]

_SEED: Final = 0
_MAP: Final = 4  # dimensions


@dataclass(frozen=True, slots=True)
class Features:
    """The output of a trunk: a vector of ``width`` values, or a map with ``width`` channels, ``flat`` values in all.

    ``pools`` says whether the library averages the map after this trunk.
    """

    width: int
    flat: int
    is_map: bool
    pools: bool


def random_image(architecture: str, channels: int) -> torch.Tensor:
    """Return noise (1, C, H, W) of the size that ``architecture`` is published with."""
    size = published_input(architecture).crop
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(_SEED))


def make_body(body: Body, architecture: str) -> nn.Module:
    """Return the network of ``body``, or its trunk, with its weights, in eval mode."""
    build = partial(build_to_load, channels=body.channels)
    if body.num_classes is not None:
        network = build(architecture, body.num_classes)
    else:
        network = build_trunk(architecture, body.trunk, build).eval()
    put_stem(network, body.stem)
    load_weights(network, body.weights)
    return network


def measure(body: Body) -> Features:
    """Run the trunk of ``body`` on noise.

    Raises:
        ModelError: It does not return one vector or map per image.
    """
    architecture = body.architectures[0]
    network, image = make_body(body, architecture), random_image(architecture, body.channels)
    found = _run(network, image)
    if found.ndim not in {2, _MAP}:
        raise needs_own_class(f"{architecture} without its last layer returns no features")
    is_map = found.ndim == _MAP and found.shape[2:] != (1, 1)
    pools = not is_map or _is_pooled_by_the_library(body, architecture, image, found)
    return Features(found.shape[1], found.flatten(1).shape[1], is_map, pools)


def _run(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    try:
        with torch.inference_mode():
            found = network(image)
    except Exception as exc:
        raise needs_own_class("Without its last layer, the network needs other inputs") from exc
    if not isinstance(found, torch.Tensor):
        raise needs_own_class("Without its last layer, the network returns several values")
    return found


def _is_pooled_by_the_library(body: Body, architecture: str, image: torch.Tensor, found: torch.Tensor) -> bool:
    """Return whether the mean of the map ``found`` equals the library's own features.

    If the trunk names its tensors differently, they are still in the same order.
    """
    if body.stem is not None and not body.stem.is_own:
        return False
    whole = build_trunk(architecture, "layer", partial(build_to_load, channels=body.channels)).eval()
    expected = whole.state_dict()
    if [tensor.shape for tensor in expected.values()] != [tensor.shape for tensor in body.weights.values()]:
        return False
    load_weights(whole, dict(zip(expected, body.weights.values(), strict=True)))
    features = _run(whole, image)
    return features.shape == found.shape[:2] and torch.allclose(features, found.mean((2, 3)), rtol=1e-3, atol=1e-4)


def assemble(body: Body, architecture: str, head: Head | None, features: Features | None) -> nn.Module:
    """Return the network of ``architecture`` with the weights of ``body`` and of ``head``, in eval mode."""
    network = make_body(body, architecture)
    if head is None:
        return network
    layers = head.network()
    load_weights(layers, head.weights())
    is_pooled = features is not None and features.is_map and head.layers[0].inputs == features.width
    pooling: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)] if is_pooled else []
    parts = OrderedDict(network=network, head=nn.Sequential(*pooling, nn.Flatten(), layers))
    return nn.Sequential(parts).eval().requires_grad_(requires_grad=False)

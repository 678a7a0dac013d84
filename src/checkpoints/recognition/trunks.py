"""An architecture without its last layer, in each usual way of removing it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, get_args

import torch
from torch import nn

__all__ = ["PROBE_CLASSES", "TRUNKS", "Trunk", "build_trunk", "class_layers", "of_classes", "trunk_tensors"]

# layer: only the layers whose size is the number of classes are removed.
# features: as timm builds it with num_classes=0.
# child: the child of the network that contains these layers is removed.
# children: Sequential(*children[:-1]), so names begin with numbers.
# inner: only the child that contains all other tensors, such as vgg16().features.
Trunk = Literal["layer", "features", "child", "children", "inner"]
TRUNKS: Final[tuple[Trunk, ...]] = get_args(Trunk)
PROBE_CLASSES: Final = 4_099  # a size that no other layer has

_Build = Callable[[str, int], nn.Module]


def of_classes(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names of the tensors with a dimension of ``PROBE_CLASSES``, the number of classes."""
    return [name for name, tensor in tensors.items() if PROBE_CLASSES in tensor.shape]


def class_layers(network: nn.Module) -> list[str]:
    """Return the names of the layers of ``network`` whose size is ``PROBE_CLASSES``, its number of classes."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in of_classes(network.state_dict())))


def trunk_tensors(architecture: str, build: _Build) -> dict[Trunk, dict[str, torch.Tensor]]:
    """Return the tensors of each trunk of ``architecture``, except trunks equal to an earlier one."""
    found: dict[Trunk, dict[str, torch.Tensor]] = {}
    network = build(architecture, PROBE_CLASSES)
    layers = class_layers(network)
    for trunk in TRUNKS:
        try:
            part = _features(architecture, build) if trunk == "features" else _cut(network, trunk, layers)
        except (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError):
            continue  # some timm networks cannot be built without classes
        tensors = part.state_dict()
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if shapes and all(shapes != {name: tensor.shape for name, tensor in has.items()} for has in found.values()):
            found[trunk] = tensors
    return found


def build_trunk(architecture: str, trunk: Trunk, build: _Build) -> nn.Module:
    """Return ``architecture`` without its last layer, with the tensors that ``build`` gives it.

    Raises:
        LookupError: The architecture has no such trunk.
    """
    if trunk == "features":
        return _features(architecture, build)
    network = build(architecture, PROBE_CLASSES)
    return _cut(network, trunk, class_layers(network))


def _features(architecture: str, build: _Build) -> nn.Module:
    if not architecture.startswith("timm/"):
        raise LookupError(architecture)
    return build(architecture, 0)


def _cut(network: nn.Module, trunk: Trunk, layers: Sequence[str]) -> nn.Module:
    """Return a part of ``network`` without its last ``layers``; this may modify the network's last child."""
    if not layers or "" in layers:
        raise LookupError(trunk)
    if trunk == "layer":
        for layer in layers:
            network.set_submodule(layer, nn.Identity())
        return network
    (last,) = _only({layer.partition(".")[0] for layer in layers})
    if trunk == "child":
        network.set_submodule(last, nn.Identity())
        return network
    return _children(network, last) if trunk == "children" else _inner(network, last)


def _children(network: nn.Module, last: str) -> nn.Module:
    children = dict(network.named_children())
    if list(children)[-1] != last or _has_own_tensors(network):
        raise LookupError(last)
    return nn.Sequential(*list(children.values())[:-1])


def _inner(network: nn.Module, last: str) -> nn.Module:
    others = {name for name in network.state_dict() if name.partition(".")[0] != last}
    (inner,) = _only({name.partition(".")[0] for name in others})
    if inner in others:
        raise LookupError(inner)
    return network.get_submodule(inner)


def _has_own_tensors(network: nn.Module) -> bool:
    return any("." not in name for name in network.state_dict())


def _only(names: set[str]) -> set[str]:
    if len(names) != 1:
        raise LookupError(names)
    return names

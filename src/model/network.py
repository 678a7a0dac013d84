"""Architecture name -> network, split at its Grad-CAM layer into backbone and head."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import timm
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torchvision import models
from torchvision.models.feature_extraction import NodePathTracer

from src.errors import ModelError

__all__ = ["SplitNetwork", "build", "load_weights", "split"]

_FAULTS_SHOWN: Final = 5
_TIMM_LAYER: Final = "forward_features"
_SLOW_TO_INITIALIZE: Final = ("googlenet", "inception_v3")  # minutes of random numbers that are overwritten anyway
_POOLING: Final = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Identity)


@dataclass(frozen=True, slots=True)
class SplitNetwork:
    """A network in two parts: ``head(backbone(x))`` is ``network(x)``.

    ``backbone``: images (N, 3, H, W) -> features (N, K, h, w), the last spatial feature map.
    ``head``: features (N, K, h, w) -> logits (N, C).
    """

    backbone: nn.Module
    head: nn.Module
    layer: str


def build(architecture: str, num_classes: int) -> nn.Module:
    """Return the network ``torchvision/<name>`` or ``timm/<name>`` with random weights, in eval mode.

    Raises:
        ModelError: There is no such network.
    """
    library, _, name = architecture.partition("/")
    if library == "timm" and timm.is_model(name):
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes)
    elif library == "torchvision" and name in models.list_models(module=models):
        options = {"init_weights": False} if name in _SLOW_TO_INITIALIZE else {}
        network = models.get_model(name, weights=None, num_classes=num_classes, **options)
    else:
        raise ModelError(f"There is no network {architecture!r}: name one as torchvision/<name> or timm/<name>.")
    return network.eval().requires_grad_(requires_grad=False)


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy ``weights`` into ``network``; every tensor must be there, known, and of the right shape.

    Raises:
        ModelError: Names the tensors that are missing, surplus or of another shape.
    """
    expected = network.state_dict()
    faults = [f"{name} is missing" for name in expected if name not in weights]
    faults += [f"{name} is not part of the network" for name in weights if name not in expected]
    faults += [
        f"{name} has the shape {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if faults:
        more = f" and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        raise ModelError(f"The weights do not fit the network: {'; '.join(faults[:_FAULTS_SHOWN])}{more}.")
    network.load_state_dict(dict(weights))


def split(network: nn.Module, input_size: tuple[int, int], layer: str | None = None) -> SplitNetwork:
    """Split ``network`` at ``layer``, or at the layer that Grad-CAM wants: the last spatial feature map before pooling.

    Args:
        network: A classification network of torchvision or timm.
        input_size: (height, width) of its input in pixels.
        layer: The ``layer`` of an earlier split of the same architecture; saves looking for it.

    Raises:
        ModelError: The network has no such layer, or no spatial feature map that everything behind it depends on.
    """
    if hasattr(network, "forward_features") and hasattr(network, "forward_head"):
        return _split_timm(network, input_size)
    tracer = NodePathTracer()
    graph = tracer.trace(network)
    names = {node: name for node, name in tracer.node_to_qualname.items() if node.op.startswith("call_")}
    cut = _named(names, layer) if layer is not None else _last_spatial(network, graph, input_size)
    return SplitNetwork(_until(network, graph, cut), _after(network, graph, cut), names[cut])


class _Part(nn.Module):
    """One half of a timm network: calls one of its methods."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network = network
        self._forward: Callable[[torch.Tensor], torch.Tensor] = getattr(network, method)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(x)


def _split_timm(network: nn.Module, input_size: tuple[int, int]) -> SplitNetwork:
    backbone = _Part(network, "forward_features")
    with torch.inference_mode():
        features = backbone(torch.zeros(1, 3, *input_size))
    if not _is_spatial(features.shape):
        raise ModelError(
            f"This network's features have the shape {tuple(features.shape)}, not (N, K, h, w): it cannot be explained."
        )
    return SplitNetwork(backbone, _Part(network, "forward_head"), _TIMM_LAYER)


def _named(names: dict[fx.Node, str], layer: str) -> fx.Node:
    for node, name in names.items():
        if name == layer:
            return node
    raise ModelError(f"The network has no layer {layer!r}; its last ones are {', '.join(list(names.values())[-5:])}.")


def _last_spatial(network: nn.Module, graph: fx.Graph, input_size: tuple[int, int]) -> fx.Node:
    """Return the last node whose output is (N, K, h, w); of alexnet and vgg the one before their pooling."""
    with torch.inference_mode():
        ShapeProp(fx.GraphModule(network, graph)).propagate(torch.zeros(1, 3, *input_size))
    spatial = [node for node in graph.nodes if node.op.startswith("call_") and _is_spatial(_shape(node))]
    if not spatial or isinstance(network, models.VisionTransformer):
        raise ModelError("This network has no spatial feature map: it cannot be explained by Grad-CAM.")
    node: fx.Node = spatial[-1]
    while node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), _POOLING):
        node = node.all_input_nodes[0]
    return node


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(getattr(node.meta.get("tensor_meta"), "shape", ()))


def _is_spatial(shape: tuple[int, ...]) -> bool:
    return len(shape) == len("NKhw") and shape[2] > 1 and shape[3] > 1


def _until(network: nn.Module, graph: fx.Graph, cut: fx.Node) -> fx.GraphModule:
    """Return the part of ``graph`` that computes ``cut``."""
    part = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        copies[node] = part.node_copy(node, copies.__getitem__)
        if node is cut:
            break
    part.output(copies[cut])
    return fx.GraphModule(network, part)


def _after(network: nn.Module, graph: fx.Graph, cut: fx.Node) -> fx.GraphModule:
    """Return the part of ``graph`` that computes the output from ``cut``, with the parameters that it uses directly."""
    part = fx.Graph()
    copies = {cut: part.placeholder("features")}

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:
            if node.op != "get_attr":
                raise ModelError(
                    f"The layer {cut} is passed by: what follows it also needs {node}. Choose a later layer."
                )
            copies[node] = part.node_copy(node)
        return copies[node]

    behind = False
    for node in graph.nodes:
        if behind:
            copies[node] = part.node_copy(node, copied)
        behind = behind or node is cut
    return fx.GraphModule(network, part)

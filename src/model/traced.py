"""A network as the list of its operations, which can be cut in two behind any of them."""

from inspect import signature
from itertools import accumulate
from math import prod
from typing import Final

import torch
from timm.models import get_notrace_functions, get_notrace_modules
from torch import fx, nn
from torchvision.models.feature_extraction import NodePathTracer

from src.errors import ModelError
from src.model.maps import Folding, find_map

__all__ = ["GATHERING", "Traced"]

# What only gathers or rearranges the map before it: Grad-CAM wants that one.
GATHERING: Final = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Dropout,
    nn.Identity,
    nn.Flatten,
)
_RESHAPING: Final = (torch.flatten, torch.reshape, "flatten", "reshape", "view")


class _Sizes(fx.Interpreter):
    """Runs a graph and notes the shape of every tensor and every value that is made of numbers alone."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.numbers: dict[fx.Node, fx.node.Argument] = {}

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.shapes[n] = tuple(result.shape)
        elif _is_plain(result):
            self.numbers[n] = result
        return result


class Traced:
    """The operations of a network in the order of their execution, and the two parts around any of them.

    ``names``: the operations by the names of their modules. ``maps``: those that give a map of places, and how it is
    folded to (N, K, h, w).
    """

    def __init__(self, network: nn.Module, input_size: tuple[int, int]) -> None:
        self.network = network
        self.graph, qualified = _trace(network)
        module = fx.GraphModule(network, self.graph)
        alone, both = _measured(module, 1, input_size), _measured(module, 2, input_size)
        self._batch_sizes = {node for node, value in alone.numbers.items() if (value, both.numbers[node]) == (1, 2)}
        for node, value in alone.numbers.items():
            if both.numbers[node] == value:
                _settle(node, value)
        self.graph.eliminate_dead_code()
        self.names = {node: qualified[node] for node in self.graph.nodes if node.op.startswith("call_")}
        self._seen = self._that_see_the_picture()
        self.maps = self._find_maps(alone.shapes, input_size)

    def _that_see_the_picture(self) -> set[fx.Node]:
        seen = {next(iter(self.graph.nodes))}
        for node in self.graph.nodes:
            if node not in self._batch_sizes and not seen.isdisjoint(node.all_input_nodes):
                seen.add(node)
        return seen

    def _find_maps(self, shapes: dict[fx.Node, tuple[int, ...]], input_size: tuple[int, int]) -> dict[fx.Node, Folding]:
        found = {node: find_map(shapes.get(node, ()), input_size) for node in self.names if node in self._seen}
        maps = {node: folding for node, folding in found.items() if folding}
        places = {prod(folding.shape[1:]) for node, folding in maps.items() if len(shapes[node]) == len("NKhw")}

        def is_flattened(node: fx.Node) -> bool:  # (N, K, h w), whose K channels only look like tokens
            return shapes[node][-1] in places and prod(maps[node].shape[1:]) not in places

        return {
            node: folding for node, folding in maps.items() if len(shapes[node]) != len("NTK") or not is_flattened(node)
        }

    def named(self, layer: str) -> fx.Node:
        """Return the operation called ``layer``, or the last one inside the module of that name."""
        inside: list[fx.Node] = [node for node, name in self.names.items() if f"{name}.".startswith(f"{layer}.")]
        if inside:
            return next((node for node in inside if self.names[node] == layer), inside[-1])
        last = ", ".join(list(self.names.values())[-5:])
        raise ModelError(f"The network has no layer {layer!r}; its last ones are {last}.")

    def only_gathers(self, node: fx.Node) -> bool:
        """Tell whether ``node`` pools or reshapes a map and adds nothing to it."""
        if node.all_input_nodes[0] not in self.maps:
            return False
        if node.op == "call_module":
            return isinstance(self.network.get_submodule(str(node.target)), GATHERING)
        return node.target in _RESHAPING

    def junctions(self) -> set[fx.Node]:
        """Return the operations that all later ones depend on alone: nothing that sees the picture passes them by."""
        place = {node: index for index, node in enumerate(self.graph.nodes)}
        last_use = [max((place[user] for user in node.users if node in self._seen), default=0) for node in place]
        passing = accumulate(last_use, max, initial=0)
        return {node for (node, index), reach in zip(place.items(), passing, strict=False) if reach <= index}

    def until(self, cut: fx.Node) -> fx.GraphModule:
        """Return the part that computes ``cut``."""
        part = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for node in self.graph.nodes:
            copies[node] = part.node_copy(node, copies.__getitem__)
            if node is cut:
                break
        part.output(copies[cut])
        return fx.GraphModule(self.network, part)

    def after(self, cut: fx.Node) -> fx.GraphModule:
        """Return the part that computes the output from ``cut``, with all it uses that does not see the picture."""
        part = fx.Graph()
        features = part.placeholder("features")
        copies = {cut: features}

        def copied(node: fx.Node) -> fx.Node:
            if node not in copies:
                if node in self._seen:
                    raise ModelError(
                        f"The layer {cut} is passed by: what follows it also needs {node}. Choose a later layer."
                    )
                is_batch_size = node in self._batch_sizes
                copies[node] = (
                    part.call_method("size", (features, 0)) if is_batch_size else part.node_copy(node, copied)
                )
            return copies[node]

        nodes = list(self.graph.nodes)
        for node in nodes[nodes.index(cut) + 1 :]:
            copies[node] = part.node_copy(node, copied)
        return fx.GraphModule(self.network, part)


def _trace(network: nn.Module) -> tuple[fx.Graph, dict[fx.Node, str]]:
    """Return the operations of ``network`` for a call with one argument, the pictures, and their qualified names."""
    whole_modules, whole_functions = get_notrace_modules(), get_notrace_functions()  # type: ignore[no-untyped-call]
    tracer = NodePathTracer(leaf_modules=whole_modules, autowrap_functions=tuple(whole_functions))
    arguments = signature(network.forward).parameters.items()
    defaults = {name: argument.default for name, argument in arguments if argument.default is not argument.empty}
    try:
        return tracer.trace(network, concrete_args=defaults), tracer.node_to_qualname
    except Exception as exc:
        raise ModelError(f"This network cannot be traced by torch.fx to be split: {exc}.") from exc


def _is_plain(value: object) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, (tuple, list)) and all(map(_is_plain, value)))


def _measured(module: fx.GraphModule, batch_size: int, input_size: tuple[int, int]) -> _Sizes:
    sizes = _Sizes(module)
    with torch.inference_mode():
        sizes.run(torch.zeros(batch_size, 3, *input_size))
    return sizes


def _settle(node: fx.Node, value: fx.node.Argument) -> None:
    """Put ``value`` wherever ``node`` is used."""
    for user in list(node.users):
        user.args = fx.map_arg(user.args, lambda other: value if other is node else other)
        user.kwargs = fx.map_arg(user.kwargs, lambda other: value if other is node else other)

"""Cut a captured network at its Grad-CAM layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import torch
from torch import fx

from src.conversion.capture import packet, part, random_images
from src.conversion.maps import find_layout
from src.conversion.tokens import read_early
from src.errors import ModelError, Remedy
from src.stages.features import FeatureLayout
from src.stages.input_spec import InputSpec

__all__ = ["POOLING", "Cut", "cut"]

_LATEST_SHARE: Final = 0.5  # of the maps: earlier ones show edges and textures, not objects
_MODULES: Final = "nn_module_stack"  # where torch.export keeps the modules of an operation
aten: Final = torch.ops.aten
POOLING: Final = frozenset(
    {aten.max_pool2d, aten.max_pool2d_with_indices, aten.adaptive_max_pool2d, aten.avg_pool2d, aten.adaptive_avg_pool2d}
)
# Grad-CAM uses the map before operations that only rearrange or pool it.
_REARRANGING: Final = frozenset(
    {
        *(aten.alias, aten.clone, aten.contiguous, aten.dropout, aten.flatten, aten.permute, aten.reshape),
        *(aten.transpose, aten.unflatten, aten.view),
    }
)
_GATHERING: Final = POOLING | _REARRANGING


@dataclass(frozen=True, slots=True)
class Cut:
    """A captured network, images -> logits, and the operation that separates its backbone from its head.

    ``features`` is that operation, whose output is a spatial map with the memory layout ``layout``. ``layer`` is the
    name of the module with that output, or of the operation. ``head`` is the rest: features (N, ...) -> logits (N, C).
    """

    whole: fx.GraphModule
    features: fx.Node
    layer: str
    layout: FeatureLayout
    head: fx.GraphModule

    def network(self, hidden: tuple[fx.Node, ...] = ()) -> fx.GraphModule:
        """Return the graph images (N, C, H, W) -> (features, ``hidden`` operations of the head ..., logits)."""
        return part(self.whole, outputs=[self.features, *hidden, *self.whole.graph.output_node().all_input_nodes])

    def behind(self, hidden: tuple[fx.Node, ...] = ()) -> fx.GraphModule:
        """Return the graph features (N, ...) -> (``hidden`` operations ..., logits (N, C)), or -> logits alone."""
        return part(self.whole, [self.features], [*hidden, *self.whole.graph.output_node().all_input_nodes])


def cut(whole: fx.GraphModule, spec: InputSpec, layer: str | None = None) -> Cut:
    """Cut a captured network at ``layer``, or at the default Grad-CAM layer.

    The default is the last spatial feature map on which everything after it depends and whose positions reach the
    logits. (A ViT that reads only the class token ignores the patches after its last block, so it is cut before it.)

    Args:
        whole: The result of :func:`src.conversion.capture.capture`.
        spec: The input of the network.
        layer: The name of a module, which is cut at its output, or the ``layer`` of an earlier cut of the network.

    Raises:
        ModelError: The network cannot be cut at ``layer``, has no spatial feature map on which the rest depends, or has
            a class token that does not come first.
    """
    graph = _Operations(whole, spec)
    return _last(graph) if layer is None else _named(graph, layer)


def _named(graph: "_Operations", layer: str) -> Cut:
    node = graph.output_of(layer)
    if node not in graph.maps:
        raise ModelError(f"The output of the layer {layer} is not a spatial map: choose another layer.")
    if node not in graph.junctions:
        raise ModelError(f"The layer {layer} is bypassed, for example by a skip connection: choose a later layer.")
    if not _is_read(graph, node):
        raise ModelError(f"The logits do not depend on the map of {layer}: choose an earlier layer.")
    return _at(graph, node, layer)


def _last(graph: "_Operations") -> Cut:
    candidates = [node for node in graph.maps if not graph.only_gathers(node)]
    late = candidates[int(len(candidates) * _LATEST_SHARE) :]
    for node in reversed(late):
        if node in graph.junctions and _is_read(graph, node):
            return _at(graph, node, graph.name(node))
    if late:
        raise ModelError("This network reads several feature maps side by side, so Grad-CAM cannot explain it.")
    raise ModelError("This network has no spatial feature map, so Grad-CAM cannot explain it.")


def _at(graph: "_Operations", node: fx.Node, layer: str) -> Cut:
    _check_tokens(graph, node)
    whole = part(graph.whole)  # a copy
    features = next(one for one in whole.graph.nodes if one.name == node.name)
    read_early(whole, features)
    return Cut(whole, features, layer, graph.maps[node], part(whole, [features]))


def _check_tokens(graph: "_Operations", node: fx.Node) -> None:
    """Refuse tokens among which one without a place in the image, the same for two images, is not one of the first."""
    layout = graph.maps[node]
    if not layout.placeless:
        return
    count, _ = graph.shapes[node]
    joins = graph.whole.graph.find_nodes(op="call_function", target=aten.cat.default)
    joined = next((one for one in joins if graph.shapes.get(one) == graph.shapes[node]), None)
    if joined is None:
        return
    with torch.no_grad():
        first, second = part(graph.whole, outputs=[joined])(random_images(graph.spec))
    placeless = (first == second).flatten(1).all(dim=1).nonzero()
    if len(placeless) and (last := int(placeless.max())) >= layout.placeless:
        raise ModelError(
            f"Token {last} of {count} has no place in the image, but only the first tokens may have none: write a class"
            " that puts those, such as the class token, first.",
            Remedy("module"),
        )


def _is_read(graph: "_Operations", node: fx.Node) -> bool:
    """Return whether the positions of ``node`` reach the logits, tested with NaN, which no weight cancels."""
    head, layout = part(graph.whole, [node]), graph.maps[node]
    features = torch.ones(2, *graph.shapes[node])
    features[:, layout.placeless :] = torch.nan
    with torch.no_grad():
        return bool(head(features).isnan().any())


class _Operations:
    """The operations of a captured network, in order of execution.

    ``shapes`` holds the shapes, without N, of those that depend on the image, and ``maps`` the layouts of those that
    are spatial maps. ``junctions`` are those that no path from the image to a later operation bypasses.
    """

    def __init__(self, whole: fx.GraphModule, spec: InputSpec) -> None:
        self.whole = whole
        self.spec = spec
        self.shapes = _shapes(whole)
        self.maps = self._find_maps(spec.crop)
        self.junctions = self._junctions()

    def _find_maps(self, input_size: tuple[int, int]) -> Mapping[fx.Node, FeatureLayout]:
        maps = {node: layout for node, shape in self.shapes.items() if (layout := find_layout(shape, input_size))}
        others = _of_queries(self.whole) | _sequences(maps) | set(self.whole.graph.find_nodes(op="placeholder"))
        return {node: layout for node, layout in maps.items() if node not in others}

    def _junctions(self) -> set[fx.Node]:
        place = {node: index for index, node in enumerate(self.whole.graph.nodes)}
        seen = _seen(self.whole)
        last_use = [max((place[user] for user in node.users), default=0) if node in seen else 0 for node in place]
        passing = accumulate(last_use, max, initial=0)
        return {node for (node, index), reach in zip(place.items(), passing, strict=False) if reach <= index}

    def only_gathers(self, node: fx.Node) -> bool:
        """Return whether ``node`` only pools or reshapes a map, or is the LayerNorm of a channels-last map.

        LayerNorm makes all positions equally strong: in a Swin, the map after it is hot on the object less often
        (docs/concepts/heatmaps.md).
        """
        kind = packet(node)
        gathers = kind in _GATHERING or (kind is aten.layer_norm and self.maps[node].axes == "NhwK")
        return gathers and node.all_input_nodes[0] in self.maps

    def name(self, node: fx.Node) -> str:
        """Return the outermost module that ends with ``node``, or only rearranges it; else the operation's name."""
        for path in _path(node):
            if self._last_of(path) is node:
                return path
        (*users,) = node.users
        if len(users) == 1 and packet(users[0]) in _REARRANGING:
            named = self.name(users[0])
            return node.name if named == users[0].name else named
        return node.name

    def output_of(self, layer: str) -> fx.Node:
        """Return the last operation in the module ``layer``, or the operation with that name."""
        found = self._last_of(layer) or next((node for node in self.shapes if node.name == layer), None)
        if found is None:
            names = list(dict.fromkeys(path for node in self.shapes for path in _path(node)))
            raise ModelError(f"The network has no layer {layer!r}; its last layers are {', '.join(names[-5:])}.")
        return found

    def _last_of(self, path: str) -> fx.Node | None:
        return next((node for node in reversed(self.shapes) if path in _path(node)), None)


def _sequences(maps: Mapping[fx.Node, FeatureLayout]) -> set[fx.Node]:
    """Return those of ``maps`` that only look like tokens: their channels, or the columns of a map, are no grid."""
    layouts = set(maps.values())
    grids = {_positions(layout) for layout in layouts if layout.axes != "NTK"}
    halves = {-(-layout.height // 2) * -(-layout.width // 2) for layout in layouts}
    bare = {_positions(layout) for layout in layouts if not layout.placeless}
    channels = {layout.channels for layout in layouts if layout.axes == "NKhw"}
    found = set()
    for node, layout in maps.items():
        positions = _positions(layout)
        if layout.axes == "NTK" and positions not in grids:
            flattened = layout.channels in grids  # (N, K, h w)
            of_channels = positions + layout.placeless in channels and positions not in halves  # (N, K, ...)
            of_columns = layout.placeless > 0 and positions not in bare  # class tokens are joined to a grid
            if flattened or of_channels or of_columns:
                found.add(node)
    return found


def _positions(layout: FeatureLayout) -> int:
    return layout.height * layout.width


def _seen(whole: fx.GraphModule) -> set[fx.Node]:
    """Return the operations that depend on the images themselves, not only on their number."""
    seen = set(whole.graph.find_nodes(op="placeholder"))
    for node in whole.graph.nodes:
        if node.target is not torch.ops.aten.sym_size.int and not seen.isdisjoint(node.all_input_nodes):
            seen.add(node)
    return seen


def _of_queries(whole: fx.GraphModule) -> set[fx.Node]:
    """Return the operations on learned queries, such as one for each class, that look at the image by attention.

    Their tokens look like those of an image, but have no place in it.
    """
    seen, found = _seen(whole), set[fx.Node]()
    for node in whole.graph.nodes:
        attends = packet(node) is aten.scaled_dot_product_attention
        sources = [one for one in (node.args[:1] if attends else node.all_input_nodes) if one in seen]
        if node in seen and node.op != "placeholder" and found.issuperset(sources):
            found.add(node)
    return found


def _shapes(whole: fx.GraphModule) -> dict[fx.Node, tuple[int, ...]]:
    """Return the shape, without N, of every float32 tensor that depends on the images and has one entry for each."""
    (images,) = whole.graph.find_nodes(op="placeholder")
    seen, shapes = _seen(whole), {}
    for node in whole.graph.nodes:
        value = node.meta.get("val")
        if node in seen and isinstance(value, torch.Tensor) and value.dtype == torch.float32 and value.ndim:
            first, *others = value.shape
            if str(first) == str(images.meta["val"].shape[0]) and all(isinstance(size, int) for size in others):
                shapes[node] = tuple(others)
    return shapes


def _path(node: fx.Node) -> tuple[str, ...]:
    """Return the modules that contain ``node``, outermost first, without the network itself."""
    stack = node.meta.get(_MODULES) or {}
    return tuple(path for path, _ in stack.values() if path)

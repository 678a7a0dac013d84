"""Compute only the token that a network reads at the end, such as the class token, where that is enough."""

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import fx

from src.conversion.capture import packet, tensor_of

__all__ = ["read_early"]

aten: Final = torch.ops.aten
_OF_EACH: Final = frozenset({aten.alias, aten.clone, aten.contiguous, aten.dropout, aten.gelu, aten.relu, aten.silu})
_REGROUPING: Final = frozenset({aten.flatten, aten.reshape})
_OF_PAIRS: Final = frozenset({aten.add, aten.mul, aten.sub})


def read_early(whole: fx.GraphModule, features: fx.Node) -> None:
    """Select the one token that is read, such as a class token, before the operations on each token instead of after.

    The logits and their gradient stay the same. After the attention of its last block, a ViT then computes one token
    instead of all.
    """
    place = {node: index for index, node in enumerate(whole.graph.nodes)}
    for node in whole.graph.find_nodes(op="call_function", target=aten.select.int):
        tokens, dim, index = cast("tuple[fx.Node, int, int]", node.args)
        if place[node] > place[features] and len(_shape(tokens)) > len("NC"):
            early = _Early(whole.graph, features, index)
            taken = early.take(tokens, dim % len(_shape(tokens)))
            if early.saves:
                node.args = (taken, dim, 0)
    whole.graph.eliminate_dead_code()
    whole.recompile()


class _Early:
    """Selects the entry ``index`` of a dimension, which stays with length 1, as early as the operations allow.

    ``saves`` is whether this saves a matrix product for the other entries.
    """

    def __init__(self, graph: fx.Graph, features: fx.Node, index: int) -> None:
        self.saves = False
        self._graph = graph
        self._features = features
        self._index = index
        self._taken: dict[tuple[fx.Node, int], fx.Node] = {}

    def take(self, node: fx.Node, dim: int) -> fx.Node:
        """Return the node that computes the entry of ``node`` in its dimension ``dim``."""
        if (node, dim) not in self._taken:
            taken = self._earlier(node, dim, {} if node is self._features else _sources(node, dim))
            taken.meta = {key: value for key, value in node.meta.items() if key != "val"}
            self._taken[node, dim] = taken
        return self._taken[node, dim]

    def _earlier(self, node: fx.Node, dim: int, sources: Mapping[int, int]) -> fx.Node:
        arguments: list[Any] = list(node.args)
        for place, at in sources.items():
            arguments[place] = self.take(arguments[place], at)
        target: Any = node.target
        with self._graph.inserting_after(node):
            if not sources:
                end = self._index + 1 or None  # None for the last entry, -1
                return self._graph.call_function(aten.slice.Tensor, (node, dim, self._index, end))
            self.saves |= packet(node) is aten.linear
            if packet(node) is aten.reshape:
                arguments[1] = [1 if place == dim else size for place, size in enumerate(arguments[1])]
            return self._graph.call_function(target, tuple(arguments), node.kwargs)


def _sources(node: fx.Node, dim: int) -> dict[int, int]:  # noqa: PLR0911 - one for each kind of operation
    """Return the arguments of which one entry is enough for an entry of ``node`` in ``dim``, and its dimension there.

    The result is empty if all entries are needed, or if that is unknown.
    """
    kind, shape = packet(node), _shape(node)
    if kind in _OF_PAIRS:
        aligned = {place: dim - len(shape) + len(_shape(one)) for place, one in enumerate(node.args[:2])}
        return {place: at for place, at in aligned.items() if at >= 0 and _shape(node.args[place])[at] != 1}
    arguments: list[Any] = [*node.args, None]
    first, *others = arguments
    source = _shape(first)
    if kind in _OF_EACH:
        return {0: dim}
    if kind is aten.linear and dim != len(shape) - 1:
        return {0: dim}
    if kind is aten.layer_norm and dim < len(shape) - len(others[0]):
        return {0: dim}
    if kind is aten.slice and dim != (others[0] or 0):
        return {0: dim}
    if kind is aten.transpose:
        swapped = [place % len(shape) for place in others[:2]]
        return {0: swapped[1 - swapped.index(dim)] if dim in swapped else dim}
    if kind is aten.permute:
        return {0: others[0][dim] % len(shape)}
    if kind in _REGROUPING and dim and [*map(str, source[: dim + 1])] == [*map(str, shape[: dim + 1])]:
        return {0: dim}
    # Only of the queries: the result of each depends on all keys. A mask may change that.
    if kind is aten.scaled_dot_product_attention and dim == len(shape) - 2 and len(node.args) == len("QKV"):
        return {0: dim} if not node.kwargs else {}
    return {}


def _shape(argument: Any) -> tuple[Any, ...]:  # noqa: ANN401 - an argument of an operation
    """Return the shape of a tensor, whose first size may be symbolic, or () for anything else."""
    value = argument.meta.get("val") if isinstance(argument, fx.Node) else None
    if value is None and isinstance(argument, fx.Node) and argument.op == "get_attr":
        value = tensor_of(argument)
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()

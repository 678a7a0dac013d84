"""The backward pass of a head as a graph of its own, made of operations that any runtime has."""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final

import torch
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from src.conversion.capture import let_views_copy

__all__ = ["gradient_graph"]

aten: Final = torch.ops.aten
# What the core operations of ATen leave whole, and OpenVINO has no counterpart of.
_FURTHER: Final = (
    aten._native_batch_norm_legit,  # noqa: SLF001 - that is what ATen calls it
    aten._scaled_dot_product_attention_math,  # noqa: SLF001 - the same
    aten._softmax_backward_data,  # noqa: SLF001 - the same
    aten.gelu_backward,
    aten.hardswish_backward,
    aten.native_group_norm,
    aten.native_layer_norm,
    aten.native_layer_norm_backward,
    aten.silu_backward,
    aten.threshold_backward,
)


def gradient_graph(head: fx.GraphModule, features: Tensor, classes: int) -> fx.GraphModule:
    r"""Capture the backward pass of ``head``: (features (N, ...), direction (N, C)) -> gradient, of the features' shape.

    The gradient is that of the score :math:`\sum_c d_c y_c` of each picture: the direction d that stands for one class
    is 1 there and 0 elsewhere.

    Args:
        head: features (N, ...) -> logits (N, C), captured.
        features: Some to capture it with.
        classes: C.
    """
    simple = _SimpleOperations(head)
    # Sizes that are equal here count as one and the same: that of the batch has to be another.
    batch = next(size for size in count(2) if size not in {*features.shape[1:], classes})
    examples = features[:1].repeat(batch, *[1] * (features.ndim - 1)), torch.zeros(batch, classes)

    def backward(features: Tensor, direction: Tensor) -> Tensor:
        leaf = features.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(simple.run(leaf), leaf, direction)
        return gradient

    table = {**core_aten_decompositions(), **get_decompositions(_FURTHER), **_OWN}
    trace = make_fx(backward, table, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        module = trace(*examples)
    module.graph.eliminate_dead_code()
    let_views_copy(module)
    return module


class _SimpleOperations(fx.Interpreter):
    r"""Runs a graph with average pooling as :math:`P_h X P_w^T`: of pooling itself autograd makes more than is simple."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self._pooling = {node: _matrices(node) for node in module.graph.nodes if node.target in _AVERAGES}

    def run_node(self, n: fx.Node) -> object:
        """Run one operation."""
        if n in self._pooling:
            rows, columns = self._pooling[n]
            return rows @ self.env[n.all_input_nodes[0]] @ columns
        return super().run_node(n)


def _matrices(node: fx.Node) -> tuple[Tensor, Tensor]:
    """Return :math:`P_h` and :math:`P_w^T` of an average pooling: what it makes of unit vectors."""
    maps, *options = node.args
    height, width = maps.meta["val"].shape[2:]  # type: ignore[union-attr] # it is a node
    rows, columns = (
        _AVERAGES[node.target](torch.eye(size), axis, *options) for axis, size in enumerate((height, width))
    )
    return rows.T.contiguous(), columns.contiguous()


def _average(
    unit: Tensor,
    axis: int,
    size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    *flags: bool,
) -> Tensor:
    return functional.avg_pool1d(
        unit, _of_axis(size, axis), _of_axis(stride or size, axis), _of_axis(padding, axis), *flags
    )


def _adaptive_average(unit: Tensor, axis: int, size: Sequence[int]) -> Tensor:
    return functional.adaptive_avg_pool1d(unit, _of_axis(size, axis))


def _of_axis(sizes: Sequence[int], axis: int) -> int:
    return sizes[min(axis, len(sizes) - 1)]


def _convolution_backward(
    gradient: Tensor,
    maps: Tensor,
    weight: Tensor,
    _: object,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    __: object,
    groups: int,
    ___: object,
) -> tuple[Tensor, None, None]:
    """Return the gradient of a convolution's input: the transposed convolution of that of its output, and the reverse."""
    if transposed:
        return (
            aten.convolution(gradient, weight, None, stride, padding, dilation, False, [0] * len(stride), groups),
            None,
            None,
        )
    missing = [
        size - ((given - 1) * step - 2 * border + spread * (kernel - 1) + 1)
        for size, given, step, border, spread, kernel in zip(
            maps.shape[2:], gradient.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True
        )
    ]
    return aten.convolution(gradient, weight, None, stride, padding, dilation, True, missing, groups), None, None


def _max_pool_backward(gradient: Tensor, maps: Tensor, *options: Any) -> Tensor:
    """Return the gradient of a max-pool's input: each value's goes to where it is from, given by the last option."""
    indices: Tensor = options[-1]
    return torch.zeros_like(maps).flatten(2).scatter_add(2, indices.flatten(2), gradient.flatten(2)).reshape(maps.shape)


_AVERAGES: Final[Mapping[Any, Callable[..., Tensor]]] = {
    aten.adaptive_avg_pool2d.default: _adaptive_average,
    aten.avg_pool2d.default: _average,
}
_OWN: Final = {
    aten.adaptive_max_pool2d_backward.default: _max_pool_backward,
    aten.convolution_backward.default: _convolution_backward,
    aten.max_pool2d_with_indices_backward.default: _max_pool_backward,
}

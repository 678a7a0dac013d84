"""Decompose the operations of a backward pass into those that every runtime supports."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.nn import functional

__all__ = ["AVERAGES", "average_matrices", "decompositions"]

aten: Final = torch.ops.aten
# Operations that core ATen does not decompose and OpenVINO does not support.
_FURTHER: Final = (
    aten._native_batch_norm_legit,  # noqa: SLF001 - that is what ATen calls it
    aten._scaled_dot_product_attention_math,  # noqa: SLF001 - as above
    aten._softmax_backward_data,  # noqa: SLF001 - as above
    aten.gelu_backward,
    aten.hardswish_backward,
    aten.native_group_norm,
    aten.native_layer_norm,
    aten.native_layer_norm_backward,
    aten.silu_backward,
    aten.threshold_backward,
)


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return the decomposition of each operation: those of torch, and our own."""
    return {**core_aten_decompositions(), **get_decompositions(_FURTHER), **_OWN}


def average_matrices(node: fx.Node) -> tuple[Tensor, Tensor]:
    """Return :math:`P_h` and :math:`P_w^T` of the average pooling ``node``, found with unit vectors."""
    maps, *options = node.args
    height, width = maps.meta["val"].shape[2:]  # type: ignore[union-attr] # it is a node
    average = AVERAGES[node.target]
    rows, columns = average(torch.eye(height), 0, *options), average(torch.eye(width), 1, *options)
    return rows.T.contiguous(), columns.contiguous()


def _average(  # noqa: PLR0913, PLR0917 - the signature is that of ATen
    unit: Tensor,
    axis: int,
    size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,  # noqa: FBT001, FBT002 - as above
    count_padding: bool = True,  # noqa: FBT001, FBT002 - as above
    divisor: int | None = None,
) -> Tensor:
    kernel, step, border = (_of_axis(values, axis) for values in (size, stride or size, padding))
    average = functional.avg_pool1d(unit, kernel, step, border, ceil_mode, count_padding)
    if divisor is None:
        return average
    return (average > 0) / (1 if axis else divisor)  # the sum over each window, divided once


def _adaptive_average(unit: Tensor, axis: int, size: Sequence[int]) -> Tensor:
    return functional.adaptive_avg_pool1d(unit, _of_axis(size, axis))


def _of_axis(sizes: Sequence[int], axis: int) -> int:
    return sizes[min(axis, len(sizes) - 1)]


def _convolution_backward(
    gradient: Tensor,
    maps: Tensor,
    weight: Tensor,
    *options: Any,  # noqa: ANN401 - numbers, flags and lists of them, as in ATen
) -> tuple[Tensor, None, None]:
    """Return the gradient of a convolution's input: the transposed convolution of its output's, or the reverse.

    With stride 1 and without groups, that is a convolution with the mirrored weights. It is used because OpenVINO
    confuses weights that a convolution and a transposed one share if they have as many input as output channels.
    """
    _, stride, padding, dilation, transposed, _, groups, _ = options
    none = [0] * len(stride)
    border = [
        spread * (size - 1) - edge for spread, size, edge in zip(dilation, weight.shape[2:], padding, strict=True)
    ]
    if not transposed and groups == 1 and set(stride) == {1} and min(border) >= 0:
        mirrored = weight.transpose(0, 1).flip(list(range(2, weight.ndim)))
        return aten.convolution(gradient, mirrored, None, stride, border, dilation, transposed, none, 1), None, None
    missing = [
        size - ((given - 1) * step - edge + reach + 1)
        for size, given, step, edge, reach in zip(
            maps.shape[2:], gradient.shape[2:], stride, padding, border, strict=True
        )
    ]
    surplus = none if transposed else missing
    return (
        aten.convolution(gradient, weight, None, stride, padding, dilation, not transposed, surplus, groups),
        None,
        None,
    )


def _max_pool_backward(
    gradient: Tensor,
    maps: Tensor,
    *options: Any,  # noqa: ANN401 - as above
) -> Tensor:
    """Return the gradient of a max pooling's input: add each value at its index, which is in the last option."""
    indices: Tensor = options[-1]
    return torch.zeros_like(maps).flatten(2).scatter_add(2, indices.flatten(2), gradient.flatten(2)).reshape(maps.shape)


def _slice_scatter(  # noqa: PLR0913, PLR0917 - the signature is that of ATen
    maps: Tensor, values: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Return ``maps`` with a slice replaced by ``values``, by concatenation: OpenVINO scatters some slices wrongly."""
    size = maps.shape[dim]
    first, last = start or 0, size if end is None or end == sys.maxsize else end
    if step != 1 or first < 0 or last < 0:
        return NotImplemented  # type: ignore[no-any-return] # the operation is then kept
    before = [] if first == 0 else [maps.narrow(dim, 0, first)]
    after = [] if last is size else [maps.narrow(dim, last, size - last)]
    return torch.cat([*before, values, *after], dim)


def _subtract(values: Tensor, number: float, alpha: float = 1) -> Tensor:
    """Return the difference as a sum: OpenVINO subtracts tensors only. It is in the derivative of a learned power."""
    return values + -alpha * number


AVERAGES: Final[Mapping[Any, Callable[..., Tensor]]] = {
    aten.adaptive_avg_pool2d.default: _adaptive_average,
    aten.avg_pool2d.default: _average,
}
_OWN: Final = {
    aten.adaptive_max_pool2d_backward.default: _max_pool_backward,
    aten.convolution_backward.default: _convolution_backward,
    aten.max_pool2d_with_indices_backward.default: _max_pool_backward,
    aten.slice_scatter.default: _slice_scatter,
    aten.sub.Scalar: _subtract,
}

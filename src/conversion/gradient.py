"""Capture the backward pass of a head as a graph of operations that every runtime supports."""

from itertools import count

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from src.conversion.capture import let_views_copy
from src.conversion.decompositions import AVERAGES, average_matrices, decompositions

__all__ = ["gradient_graph"]


def gradient_graph(head: fx.GraphModule, features: Tensor, classes: int) -> fx.GraphModule:
    r"""Capture the backward pass of ``head``: features (N, ...) and direction (N, C) -> gradient (N, ...).

    The gradient is that of the score :math:`\sum_c d_c y_c` of each image. The direction d of one class is 1 there
    and 0 elsewhere.

    Args:
        head: features (N, ...) -> logits (N, C), captured.
        features: Examples to capture it with.
        classes: C.
    """
    simple = _SimpleOperations(head)
    # Tracing takes equal sizes for the same one, so the batch size must differ from the others.
    batch = next(size for size in count(2) if size not in {*features.shape[1:], classes})
    examples = features[:1].repeat(batch, *[1] * (features.ndim - 1)), torch.zeros(batch, classes)

    def backward(features: Tensor, direction: Tensor) -> Tensor:
        leaf = features.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(simple.run(leaf), leaf, direction)
        return gradient

    trace = make_fx(backward, decompositions(), tracing_mode="symbolic", _allow_non_fake_inputs=True)
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        module = trace(*examples)
    module.graph.eliminate_dead_code()
    let_views_copy(module)
    return module


class _SimpleOperations(fx.Interpreter):
    r"""Runs pooling and linear layers as matrix products, whose derivatives are matrix products too.

    Average pooling is :math:`P_h X P_w^T`. A linear layer takes all its inputs as the rows of one matrix: if they are
    not contiguous, torch would compute a product for each, with a copy of the weights.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self._pooling = {node: average_matrices(node) for node in module.graph.nodes if node.target in AVERAGES}

    def run_node(self, n: fx.Node) -> object:
        """Run one operation."""
        if n in self._pooling:
            rows, columns = self._pooling[n]
            return rows @ self.env[n.all_input_nodes[0]] @ columns
        if n.target is torch.ops.aten.linear.default:
            (inputs, weight, *bias), _ = self.fetch_args_kwargs_from_env(n)
            rows = functional.linear(inputs.reshape(-1, weight.shape[1]), weight, *bias)
            return rows.reshape(*inputs.shape[:-1], weight.shape[0])
        return super().run_node(n)

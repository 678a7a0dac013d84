"""Detect outputs that are already probabilities in a captured graph, and find the scores they come from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, fx

from src.conversion.capture import packet, part, random_images, tensor_of
from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec
from src.stages.output_spec import OutputSpec

__all__ = ["Scores", "find_scores"]

Made = Literal["softmax", "log_softmax", "sigmoid", "log_sigmoid", "sigmoid of one"]

aten: Final = torch.ops.aten
_LAST: Final[dict[object, Made]] = {
    **dict.fromkeys((aten.softmax.int, aten._softmax.default), "softmax"),  # noqa: SLF001 - torch names it so
    **dict.fromkeys((aten.log_softmax.int, aten._log_softmax.default), "log_softmax"),  # noqa: SLF001
    aten.sigmoid.default: "sigmoid",
    aten.log_sigmoid.default: "log_sigmoid",
}
_OF_LOGARITHM: Final[dict[Made, Made]] = {"softmax": "log_softmax", "sigmoid": "log_sigmoid"}
_SAME: Final = frozenset(
    {aten.alias, aten.clone, aten.contiguous, aten.detach, aten.dropout, aten.to, aten._to_copy}  # noqa: SLF001
)
_RESHAPING: Final = frozenset({aten.flatten, aten.reshape, aten.squeeze, aten.unsqueeze, aten.view})
_WEIGHING: Final = frozenset({aten.linear, aten.addmm, aten.mm, aten.matmul, aten.bmm, aten.conv2d, aten.convolution})
_SQUASHING: Final = frozenset(
    {aten.sigmoid, aten.softmax, aten.log_softmax, aten.log_sigmoid, aten.hardsigmoid, aten.clamp, aten.tanh, aten.exp}
)
_SCALES: Final = (1.0, 30.0, 1000.0)  # of noise: it drives scores out of [0, 1], but not probabilities
_TOLERANCE: Final = 1e-4
_TWO_CLASSES: Final = torch.tensor([[-0.5], [0.5]])


@dataclass(frozen=True, slots=True)
class Scores:
    """A captured network, images -> scores (N, C), and the operation that turned them into outputs, if any."""

    graph: fx.GraphModule
    made: Made | None = None

    def finish(self, scores: Tensor) -> Tensor:
        """Return the outputs of the original network for ``scores``."""
        return _FINISHES[self.made](scores) if self.made else scores

    def output(self, said: OutputSpec) -> OutputSpec:
        """Return what the scores mean, given the stated ``said``: the classes of sigmoids are independent.

        Raises:
            ModelError: ``said`` is multilabel, but the network ends in a softmax.
        """
        if self.made in {"softmax", "log_softmax"} and said.kind == "multilabel":
            raise ModelError("The network ends in a softmax, so its classes exclude each other.", Remedy("output"))
        if self.made in {"sigmoid", "log_sigmoid"} and said.kind == "softmax":
            return OutputSpec(kind="multilabel")
        return said


def _finish_two(scores: Tensor) -> Tensor:
    likely = (2 * scores[:, 1:]).sigmoid()
    return torch.cat([-likely / 2, likely / 2], 1)


_FINISHES: Final[dict[Made, Callable[[Tensor], Tensor]]] = {
    "softmax": lambda scores: scores.softmax(1),
    "log_softmax": lambda scores: scores.log_softmax(1),
    "sigmoid": torch.sigmoid,
    "log_sigmoid": torch.nn.functional.logsigmoid,
    "sigmoid of one": _finish_two,
}


def find_scores(whole: fx.GraphModule, spec: InputSpec) -> Scores:
    """Cut off the last operation of ``whole`` if it turns scores into probabilities or their logarithms.

    Its outputs for noise must be of that kind. A layer after it that turns one output into two classes, as
    :class:`src.checkpoints.outputs.TwoClasses` does, stays.

    Args:
        whole: The result of :func:`src.conversion.capture.capture`.
        spec: The input of the network.

    Raises:
        ModelError: The outputs are probabilities or their logarithms, but the last operation cannot be cut off; the
            last operation computes probabilities, but the outputs are not; or two classes are made of a logarithm.
    """
    (outputs,) = whole.graph.output_node().all_input_nodes
    spread = _makes_two_classes(outputs)
    last = outputs.all_input_nodes[0] if spread else outputs
    given = _on_noise(part(whole, outputs=[last]), spec)
    top = _skip_no_ops(last)
    made, source = _made(top)
    if spread and made not in {None, "sigmoid"}:
        raise ModelError(
            f"The only output of the network comes from a {made}, so it is not the score of two classes: write a class"
            " whose forward returns the score before it.",
            Remedy("module"),
        )
    if made is None or source is None:
        _refuse_probabilities(last, given)
        return Scores(whole)
    if not all(_is_made_by(made, one) for one in given):
        raise ModelError(f"The network ends in {made}, but its outputs are not probabilities.", Remedy("module"))
    if top is outputs:
        return Scores(part(whole, outputs=[source]), made)
    top.replace_all_uses_with(source)
    return Scores(part(whole), "sigmoid of one" if spread else made)


def _makes_two_classes(last: fx.Node) -> bool:
    if last.target is not aten.linear.default or len(last.args) > 2 or last.meta["val"].shape[1] != 2:  # noqa: PLR2004
        return False
    weight = tensor_of(last.args[1])
    return weight.shape == _TWO_CLASSES.shape and torch.equal(weight, _TWO_CLASSES)


def _on_noise(graph: fx.GraphModule, spec: InputSpec) -> list[Tensor]:
    with torch.no_grad():
        return [graph(scale * random_images(spec)) for scale in _SCALES]


def _made(top: fx.Node) -> tuple[Made | None, fx.Node | None]:
    """Return the kind of operation that computed ``top`` from scores, and the scores; None if there is none."""
    logarithm = top.target is aten.log.default
    node = _skip_no_ops(top.all_input_nodes[0]) if logarithm else top
    made = _LAST.get(node.target)
    if made is None or not (made.endswith("sigmoid") or node.args[1] in {1, 1 - node.meta["val"].ndim}):
        return None, None
    return (_OF_LOGARITHM.get(made) if logarithm else made), node.all_input_nodes[0]


def _skip_no_ops(node: fx.Node) -> fx.Node:
    """Return the earliest operation with the values of ``node``, up to dimensions of size one."""
    while (kind := packet(node)) in _SAME | _RESHAPING:
        before = node.all_input_nodes[0]
        if kind in _RESHAPING and _sizes(before) != _sizes(node):
            return node
        node = before
    return node


def _sizes(node: fx.Node) -> list[object]:
    return [size for size in node.meta["val"].shape if not isinstance(size, int) or size > 1]


def _is_made_by(made: Made, outputs: Tensor) -> bool:
    likely = outputs.exp() if made.startswith("log") else outputs
    return _are_shares(likely) if made.endswith("softmax") else _are_likely(likely)


def _are_likely(outputs: Tensor) -> bool:
    return bool(((outputs >= 0) & (outputs <= 1 + _TOLERANCE)).all())


def _are_shares(outputs: Tensor) -> bool:
    return _are_likely(outputs) and bool(((outputs.sum(1) - 1).abs() < _TOLERANCE).all())


def _refuse_probabilities(last: fx.Node, outputs: list[Tensor]) -> None:
    several = outputs[0].ndim == len("NC") and outputs[0].shape[1] > 1
    shares = several and (all(map(_are_shares, outputs)) or all(_are_shares(one.exp()) for one in outputs))
    squashed = any(packet(node) in _SQUASHING for node in _tail(last))
    if shares or (squashed and all(map(_are_likely, outputs))):
        what = "add up to 1, directly or after exp," if shares else "are all between 0 and 1"
        raise ModelError(
            f"The outputs of this network {what} for every image, so they are probabilities and not scores, and its"
            f" last operation, {last.name}, cannot be cut off. Write a class whose forward returns the scores"
            " before softmax or sigmoid.",
            Remedy("module"),
        )


def _tail(last: fx.Node) -> Iterator[fx.Node]:
    """Yield the operations after the last layers with weights."""
    waiting, seen = [last], set()
    while waiting:
        node = waiting.pop()
        if node not in seen and packet(node) not in _WEIGHING:
            seen.add(node)
            yield node
            waiting += node.all_input_nodes

"""Any network as a graph of ATen operations, independent of the code that defines it."""

import warnings
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram, export

from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec

__all__ = ["capture", "export_batches", "let_views_copy", "part", "random_images"]

_BATCH: Final = 2  # of the examples: torch takes a batch of one for a constant
_SIZE: Final = torch.ops.aten.sym_size.int


def random_images(spec: InputSpec, count: int = _BATCH) -> torch.Tensor:
    """Return seeded noise in [-1, 1], (N, C, H, W), of the size that ``spec`` says."""
    return 2 * torch.rand(count, *spec.shape, generator=torch.Generator().manual_seed(0)) - 1


def capture(network: nn.Module, spec: InputSpec) -> fx.GraphModule:
    """Return the operations of ``network`` on images (N, C, H, W), for any N; none of them works in place.

    Its one output are the logits (N, C).

    Raises:
        ModelError: The network cannot be captured, or gives something else than logits.
    """
    try:
        program = export_batches(network, random_images(spec))
        module = program.module(check_guards=False)
        if not _work_outside(module):
            module = program.run_decompositions({}).module(check_guards=False)  # which takes much longer
            _drop_copies(module)
        let_views_copy(module)
    except Exception as exc:  # torch.export raises whatever the network and its own many parts do
        raise ModelError(
            f"This network cannot be captured by torch.export: {_first_line(exc)}. Where its forward decides by the"
            " values of an image, write a class around it whose forward does not, and name that one.",
            Remedy("module", "FILE.py:CLASS"),
        ) from exc
    (images,) = module.graph.find_nodes(op="placeholder")
    captured = part(module, [images], [_logits(module)])
    _fold_constants(captured)
    return captured


def export_batches(module: nn.Module, *examples: torch.Tensor) -> ExportedProgram:
    """Return ``module`` as torch.export sees it with ``examples``, whose first dimensions may be of any size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice for those who wrote the network
        return export(module, examples, dynamic_shapes=tuple({0: Dim.DYNAMIC} for _ in examples), strict=False)


def _work_outside(module: fx.GraphModule) -> bool:
    """Make in-place operations leave their input alone; return whether that was possible for all.

    It is where nothing else uses that input, nor shares its memory.
    """
    writing = [node for node in module.graph.nodes if (schema := _schema(node)) and schema.is_mutable]
    for node in writing:
        written, name = node.args[0], node.target.name().partition("::")[2].partition(".")[0]
        outside = getattr(torch.ops.aten, name.removesuffix("_"), None)
        if len(written.users) > 1 or _is_view(written) or outside is None or not name.endswith("_"):
            return False
        node.target = getattr(outside, node.target._overloadname)  # noqa: SLF001 - it has no other name
    module.recompile()
    return True


def _drop_copies(module: fx.GraphModule) -> None:
    """Take what was copied over a tensor of its shape in the place of the copy, which has no derivative."""
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.copy.default):
        written, values = (one.meta["val"] for one in node.args[:2])
        if (written.shape, written.dtype) == (values.shape, values.dtype):
            node.replace_all_uses_with(node.args[1])
    module.graph.eliminate_dead_code()


def _is_view(node: fx.Node) -> bool:
    schema = _schema(node)
    return node.op != "call_function" or schema is None or any(result.alias_info for result in schema.returns)


def _schema(node: fx.Node) -> Any:  # noqa: ANN401 - torch gives it no public type
    return getattr(node.target, "_schema", None)


def let_views_copy(module: fx.GraphModule) -> None:
    """Allow ``module`` to run on tensors with other strides than it was captured with."""
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.view.default):
        node.target = torch.ops.aten.reshape.default
    module.recompile()


def part(module: fx.GraphModule, inputs: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> fx.GraphModule:
    """Return what computes ``outputs`` (one tensor, or a tuple of several) from ``inputs`` in ``module``.

    Raises:
        ModelError: The outputs depend on more of the image than on the inputs.
    """
    needed = _behind(inputs, outputs)
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node, copy in copies.items():
        copy.meta = node.meta
    count = graph.call_function(_SIZE, (copies[inputs[0]], 0))
    for node in module.graph.nodes:
        if node.op == "placeholder" and node in needed:
            raise ModelError(f"The layer {inputs[0].name} is passed by: choose a later one.")
        if node in needed:
            copies[node] = count if node.target is _SIZE else graph.node_copy(node, copies.__getitem__)
    results = tuple(copies[node] for node in outputs)
    graph.output(results if len(results) > 1 else results[0])
    graph.eliminate_dead_code()
    return fx.GraphModule(module, graph)


class _Constants(fx.Interpreter):
    """Computes what depends on no image, such as position embeddings that are resized to the input."""

    def run_node(self, n: fx.Node) -> object:
        """Run one operation, unless it depends on images or on how many there are."""
        if n.op in {"placeholder", "output"} or any(self.env[node] is None for node in n.all_input_nodes):
            return None
        return super().run_node(n)


def _fold_constants(module: fx.GraphModule) -> None:
    """Put the result in the place of operations that give the same for all images."""
    constants = _Constants(module, garbage_collect_values=False)
    with torch.no_grad():
        constants.run(None)
    for node, value in constants.env.items():
        if node.op == "call_function" and isinstance(value, torch.Tensor):
            module.register_buffer(f"constant_{node.name}", value.detach())
            with module.graph.inserting_before(node):
                folded = module.graph.get_attr(f"constant_{node.name}")
            folded.meta = dict(node.meta)
            node.replace_all_uses_with(folded)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def _behind(inputs: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> set[fx.Node]:
    """Return all nodes that lie between ``inputs`` and ``outputs``, the latter and constants included."""
    found: set[fx.Node] = set()
    waiting = [node for node in outputs if node not in inputs]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            # How many images there are is known from any input.
            waiting += [] if node.target is _SIZE else [one for one in node.all_input_nodes if one not in inputs]
    return found


def _logits(module: fx.GraphModule) -> fx.Node:
    outputs = module.graph.output_node().all_input_nodes
    shapes = [tuple(node.meta["val"].shape) for node in outputs if isinstance(node.meta.get("val"), torch.Tensor)]
    if len(outputs) != 1 or len(shapes) != 1 or len(shapes[0]) != len("NC"):
        what = " and ".join(f"a tensor {shape}" for shape in shapes) or "no tensor"
        raise ModelError(f"This network gives {what} instead of logits (N, C): no Grad-CAM.")
    return outputs[0]


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0][:300].removesuffix(".") or type(exc).__name__

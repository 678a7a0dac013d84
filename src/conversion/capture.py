"""Capture a network as a graph of ATen operations, independent of the code that defines it."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from operator import attrgetter
from typing import Any, Final

import torch
from torch import fx, nn
from torch.backends import mha
from torch.export import Dim, ExportedProgram, export

from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec

__all__ = ["capture", "export_batches", "let_views_copy", "packet", "part", "random_images", "tensor_of"]

_BATCH: Final = 2  # of the examples: torch treats a batch of one as a constant
_SIZE: Final = torch.ops.aten.sym_size.int
_SQUEEZE: Final = torch.ops.aten.squeeze


def random_images(spec: InputSpec, count: int = _BATCH) -> torch.Tensor:
    """Return seeded noise in [-1, 1), (N, C, H, W), with the size in ``spec``."""
    return 2 * torch.rand(count, *spec.shape, generator=torch.Generator().manual_seed(0)) - 1


def capture(network: nn.Module, spec: InputSpec) -> fx.GraphModule:
    """Return the operations of ``network`` on images (N, C, H, W) for any N, none of them in place.

    The only output is the logits (N, C).

    Raises:
        ModelError: The network cannot be captured, or does not return logits.
    """
    try:
        program = export_batches(network, random_images(spec))
        module = program.module(check_guards=False)
        if _has_regions(module) or not _work_outside(module):
            module = program.run_decompositions({}).module(check_guards=False)  # takes much longer
            _drop_copies(module)
        _keep_images_apart(module)
        let_views_copy(module)
    except Exception as exc:  # torch.export raises errors of any type
        raise ModelError(
            f"This network cannot be captured by torch.export: {_first_line(exc)}. If its forward branches on the"
            " values of an image, write a class around it whose forward does not, and name that class.",
            Remedy("module"),
        ) from exc
    captured = part(module, outputs=[_logits(module)])
    _fold_constants(captured)
    return captured


def export_batches(module: nn.Module, *examples: torch.Tensor) -> ExportedProgram:
    """Export ``module`` with ``examples``, whose first dimensions may have any size."""
    with warnings.catch_warnings(), _separate_operations(), torch.no_grad():  # the mode of a frozen backbone
        warnings.simplefilter("ignore")  # they advise the network's author
        export_dynamic = partial(export, module, examples, dynamic_shapes=tuple({0: Dim.DYNAMIC} for _ in examples))
        try:
            return export_dynamic(strict=False)
        except Exception:
            with suppress(Exception):
                return export_dynamic(strict=True)  # takes longer, but follows the batch through len(images), too
            raise


@contextmanager
def _separate_operations() -> Iterator[None]:
    """Let torch's transformer layers run as usual, not as one operation, which has no derivative."""
    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        mha.set_fastpath_enabled(before)


def _has_regions(module: fx.GraphModule) -> bool:
    """Return whether what runs in another mode, such as autocast, is one operation with a graph of its own."""
    return any(isinstance(child, fx.GraphModule) for child in module.children())


def _work_outside(module: fx.GraphModule) -> bool:
    """Replace in-place operations with out-of-place ones; return whether that was possible for all.

    It is possible if nothing else uses the input or shares its memory.
    """
    writing = [node for node in module.graph.nodes if (schema := _schema(node)) and schema.is_mutable]
    for node in writing:
        written, name = node.args[0], node.target.name().partition("::")[2].partition(".")[0]
        outside = getattr(torch.ops.aten, name.removesuffix("_"), None)
        if len(written.users) > 1 or _is_view(written) or outside is None or not name.endswith("_"):
            return False
        node.target = getattr(outside, node.target._overloadname)  # noqa: SLF001 - it has no public name
    module.recompile()
    return True


def _drop_copies(module: fx.GraphModule) -> None:
    """Replace each ``copy`` with its source if shape and type agree, because ``copy`` has no derivative."""
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.copy.default):
        written, values = (one.meta["val"] for one in node.args[:2])
        if (written.shape, written.dtype) == (values.shape, values.dtype):
            node.replace_all_uses_with(node.args[1])
    module.graph.eliminate_dead_code()


def _keep_images_apart(module: fx.GraphModule) -> None:
    """Let ``squeeze`` drop only the sizes that are one for any number of images: one image would lose its own."""
    for node in [node for node in module.graph.nodes if packet(node) is _SQUEEZE]:
        source, *given = node.args
        sizes = getattr(source.meta.get("val"), "shape", ())
        asked = given[0] if given else range(len(sizes))
        places = sorted({place % len(sizes) for place in ([asked] if isinstance(asked, int) else asked) if sizes})
        if all(isinstance(sizes[place], int) for place in places):
            continue
        kept = [place for place in places if isinstance(sizes[place], int) and sizes[place] == 1]
        if kept:
            node.target, node.args = _SQUEEZE.dims, (source, kept)
        else:
            node.replace_all_uses_with(source)
            module.graph.erase_node(node)


def packet(node: fx.Node) -> Any:  # noqa: ANN401 - torch gives it no public type
    """Return the operation of ``node``, such as ``aten.add``, whatever its overload, or None."""
    return getattr(node.target, "overloadpacket", None)


def tensor_of(node: Any) -> torch.Tensor:  # noqa: ANN401 - an argument of an operation
    """Return the tensor of the module that ``node`` reads."""
    tensor: torch.Tensor = attrgetter(str(node.target))(node.graph.owning_module)
    return tensor.detach()


def _is_view(node: fx.Node) -> bool:
    schema = _schema(node)
    return node.op != "call_function" or schema is None or any(result.alias_info for result in schema.returns)


def _schema(node: fx.Node) -> Any:  # noqa: ANN401 - torch gives it no public type
    return getattr(node.target, "_schema", None)


def let_views_copy(module: fx.GraphModule) -> None:
    """Let ``module`` run on tensors whose strides differ from those it was captured with."""
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.view.default):
        node.target = torch.ops.aten.reshape.default
    module.recompile()


def part(module: fx.GraphModule, inputs: Sequence[fx.Node] = (), outputs: Sequence[fx.Node] = ()) -> fx.GraphModule:
    """Return the part of ``module`` that computes ``outputs`` (one tensor, or a tuple of several) from ``inputs``.

    Without them, they are those of ``module``. The weights are shared.

    Raises:
        ModelError: A path from the image to the outputs bypasses the inputs.
    """
    inputs = inputs or module.graph.find_nodes(op="placeholder")
    outputs = outputs or module.graph.output_node().all_input_nodes
    needed = _behind(inputs, outputs)
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node, copy in copies.items():
        copy.meta = node.meta
    count = graph.call_function(_SIZE, (copies[inputs[0]], 0))
    for node in module.graph.nodes:
        if node.op == "placeholder" and node in needed:
            raise ModelError(f"The layer {inputs[0].name} is bypassed: choose a later layer.")
        if node in needed:
            copies[node] = count if node.target is _SIZE else graph.node_copy(node, copies.__getitem__)
    results = tuple(copies[node] for node in outputs)
    graph.output(results if len(results) > 1 else results[0])
    graph.eliminate_dead_code()
    return fx.GraphModule(module, graph)


class _Constants(fx.Interpreter):
    """Computes what does not depend on the images, such as position embeddings that are resized to the input."""

    def run_node(self, n: fx.Node) -> object:
        """Run one operation unless it depends on the images or their number."""
        if n.op in {"placeholder", "output"} or any(self.env[node] is None for node in n.all_input_nodes):
            return None
        return super().run_node(n)


def _fold_constants(module: fx.GraphModule) -> None:
    """Replace operations that do not depend on the images with their results."""
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
    """Return all nodes between ``inputs`` and ``outputs``, including constants and the outputs."""
    found: set[fx.Node] = set()
    waiting = [node for node in outputs if node not in inputs]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            # The number of images is known from any input.
            waiting += [] if node.target is _SIZE else [one for one in node.all_input_nodes if one not in inputs]
    return found


def _logits(module: fx.GraphModule) -> fx.Node:
    outputs = module.graph.output_node().all_input_nodes
    shapes = [tuple(node.meta["val"].shape) for node in outputs if isinstance(node.meta.get("val"), torch.Tensor)]
    if len(outputs) != 1 or len(shapes) != 1 or len(shapes[0]) != len("NC"):
        what = " and ".join(f"a tensor of shape {shape}" for shape in shapes) or "no tensor"
        raise ModelError(
            f"This network returns {what} instead of logits (N, C), so Grad-CAM cannot explain it: give a class of your"
            " own that returns the logits.",
            Remedy("module"),
        )
    return outputs[0]


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0][:300].removesuffix(".") or type(exc).__name__

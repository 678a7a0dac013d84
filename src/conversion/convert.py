"""Write captured graphs to files that OpenVINO and torch run without the network's code."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import openvino as ov
import torch
from openvino.preprocess import PrePostProcessor
from safetensors.torch import save_file
from torch import fx, nn
from torch.export import Dim, ExportedProgram, export, save
from torch.func import functional_call

from src.conversion.capture import export_batches
from src.errors import ModelError
from src.stages.input_spec import InputSpec
from src.store.files import WEIGHTS

__all__ = ["convert", "save_programs"]

_MAX_MESSAGE: Final = 200

# A graph and example inputs, each a batch of two or more.
Captured = tuple[fx.GraphModule, tuple[torch.Tensor, ...]]


def convert(captured: Captured, file: Path, pixels: InputSpec | None = None) -> None:
    """Write a graph for OpenVINO to ``file`` and the ``.bin`` file next to it.

    Args:
        captured: The graph and its examples; it will take batches of any size.
        file: A name that ends in ``.xml``.
        pixels: If given, the graph takes uint8 pixels (N, H, W, C) instead of normalized images (N, C, H, W), and its
            first layers normalize them.

    Raises:
        ModelError: OpenVINO does not support an operation of the graph.
    """
    graph, examples = captured
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about what OpenVINO's converter uses
            model = ov.convert_model(export_batches(graph, *examples))
        model.reshape({port: [-1, *example.shape[1:]] for port, example in zip(model.inputs, examples, strict=True)})
        ov.save_model(_taking_pixels(model, pixels) if pixels else model, file, compress_to_fp16=False)
    except Exception as exc:  # the converter raises errors of any type
        raise ModelError(f"OpenVINO cannot convert this network: {_last_line(exc)}.") from exc


def _taking_pixels(model: ov.Model, spec: InputSpec) -> ov.Model:
    process = PrePostProcessor(model)
    process.input(0).tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    process.input(0).model().set_layout(ov.Layout("NCHW"))
    steps = process.input(0).preprocess().convert_element_type(ov.Type.f32)
    steps.mean([255 * value for value in spec.mean]).scale([255 * value for value in spec.std])
    return process.build()


def save_programs(graphs: Mapping[str, Captured], folder: Path) -> None:
    """Write each of ``graphs`` to ``folder`` as a torch program with that name, and all their tensors to one file.

    A program takes a list of tensors before its inputs, so its archive contains only operations, as JSON. The metadata
    of the tensor file names the tensors of each program. Tensors that several graphs share are written once.
    """
    tensors: dict[str, torch.Tensor] = {}
    names_of: dict[object, str] = {}
    lists: dict[str, str] = {}
    for name, (graph, examples) in graphs.items():
        taken = []
        for key, tensor in _tensors(graph).items():
            identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else key
            taken.append(names_of.setdefault(identity, f"{name}/{key}"))
            tensors.setdefault(taken[-1], tensor)
        lists[name] = json.dumps(taken)
        save(_program(graph, examples), folder / name)
    save_file(_unshared(tensors), folder / WEIGHTS, lists)


def _unshared(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return ``tensors`` made contiguous, and copied if they share memory with an earlier one."""
    kept: dict[str, torch.Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        kept[name] = tensor.clone(memory_format=torch.contiguous_format) if storage in storages else tensor.contiguous()
        storages.add(storage)
    return kept


def _program(graph: fx.GraphModule, examples: tuple[torch.Tensor, ...]) -> ExportedProgram:
    tensors = _tensors(graph)
    shapes = ([{}] * len(tensors), *({0: Dim.DYNAMIC} for _ in examples))
    arguments = (list(tensors.values()), *examples)
    program = export(
        _Lifted(graph), arguments, dynamic_shapes={"tensors": shapes[0], "inputs": shapes[1:]}, strict=False
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it contains file paths of this machine
    program._example_inputs = None  # noqa: SLF001 - they would be pickled into the archive
    return program


class _Lifted(nn.Module):
    """A graph that takes its tensors as inputs."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        self._graph = (graph,)  # in a tuple, so that torch does not register its tensors

    def forward(self, tensors: list[torch.Tensor], *inputs: torch.Tensor) -> object:
        (graph,) = self._graph
        return functional_call(graph, dict(zip(_tensors(graph), tensors, strict=True)), inputs)


def _tensors(graph: fx.GraphModule) -> dict[str, torch.Tensor]:
    return {**dict(graph.named_parameters()), **dict(graph.named_buffers())}


def _last_line(exc: Exception) -> str:
    return (
        str(exc).strip().splitlines()[-1][:_MAX_MESSAGE].removesuffix(".") if str(exc).strip() else type(exc).__name__
    )

"""Write exported programs to files that OpenVINO and torch run without the network's code."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import openvino as ov
import torch
from openvino.preprocess import PrePostProcessor
from safetensors.torch import save_file
from torch.export import ExportedProgram, ExportGraphSignature, save
from torch.export.graph_signature import InputKind

from src.errors import ModelError
from src.stages.input_spec import InputSpec
from src.store.files import WEIGHTS

__all__ = ["convert", "save_programs"]

_MAX_MESSAGE: Final = 200


def convert(program: ExportedProgram, file: Path, pixels: InputSpec | None = None) -> None:
    """Write ``program`` for OpenVINO to ``file`` and the ``.bin`` file next to it.

    Args:
        program: It takes batches of any size.
        file: A name that ends in ``.xml``.
        pixels: If given, the graph takes uint8 pixels (N, H, W, C) instead of normalized images (N, C, H, W), and its
            first layers normalize them.

    Raises:
        ModelError: OpenVINO does not support an operation of the program.
    """
    examples, _ = program.example_inputs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about what OpenVINO's converter uses
            model = ov.convert_model(program)
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


def save_programs(programs: Mapping[str, ExportedProgram], folder: Path) -> None:
    """Write each of ``programs`` to ``folder`` with that name, and all their tensors to one file.

    What is written takes its tensors as inputs before the others, so its archive contains only operations, as JSON. The
    metadata of the tensor file names the tensors of each program. Tensors that several programs share are written once.
    """
    tensors: dict[str, torch.Tensor] = {}
    names_of: dict[object, str] = {}
    lists: dict[str, str] = {}
    for name, program in programs.items():
        taken = []
        for key, tensor in _tensors(program).items():
            identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else key
            taken.append(names_of.setdefault(identity, f"{name}/{key}"))
            tensors.setdefault(taken[-1], tensor)
        lists[name] = json.dumps(taken)
        save(_lifted(program), folder / name)
    save_file(_unshared(tensors), folder / WEIGHTS, lists)


def _tensors(program: ExportedProgram) -> dict[str, torch.Tensor]:
    """Return the tensors of ``program`` in the order of its inputs for them."""
    held = {**program.state_dict, **program.constants}
    return {spec.target: held[spec.target] for spec in program.graph_signature.input_specs if spec.target is not None}


def _unshared(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return ``tensors`` made contiguous, and copied if they share memory with an earlier one."""
    kept: dict[str, torch.Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        kept[name] = tensor.clone(memory_format=torch.contiguous_format) if storage in storages else tensor.contiguous()
        storages.add(storage)
    return kept


def _lifted(program: ExportedProgram) -> ExportedProgram:
    """Return ``program`` without its tensors, which it takes as inputs instead; it is called by its graph module."""
    for node in program.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key == "val"}  # others name files and classes
    inputs = [
        replace(spec, kind=InputKind.USER_INPUT, target=None, persistent=None)
        for spec in program.graph_signature.input_specs
    ]
    return ExportedProgram(
        program.graph_module,
        program.graph,
        ExportGraphSignature(inputs, program.graph_signature.output_specs),
        state_dict={},
        range_constraints=program.range_constraints,
        module_call_graph=[],
        verifiers=program.verifiers,
    )


def _last_line(exc: Exception) -> str:
    return str(exc).strip().rpartition("\n")[2][:_MAX_MESSAGE].removesuffix(".") or type(exc).__name__

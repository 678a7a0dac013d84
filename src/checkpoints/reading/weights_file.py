"""A file with trained weights -> its tensors and metadata; nothing in it is ever run."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from src.checkpoints.reading.averaged import averaged_tensors, is_averaged
from src.checkpoints.reading.other_kinds import check_kind, refuse_object
from src.checkpoints.reading.pickled import read_pickled
from src.checkpoints.reading.plain import plain
from src.checkpoints.reading.stand_ins import StandIn, fields, is_module, module_tensors, modules
from src.errors import ModelError

__all__ = ["WeightsFile", "read_weights_file"]

_NESTED: Final = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "module")
_HYPER_PARAMETERS: Final = ("hyper_parameters", "hparams", "_hparams", "args", "config", "cfg")
_AVERAGED_FROM: Final = "current_model_state"  # beside the average, where Lightning stores that
_OF_TRAINING: Final = ("optimizer_states", "lr_schedulers", "callbacks", "loops", "optimizer")
_STARTS_OF_TRAINING: Final = ("optim", "sched", *_OF_TRAINING)
_OF_AN_OPTIMIZER: Final = "param_groups"
_DEEPEST: Final = 4


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The content of a file: tensors by its names for them, and its hyper-parameters, if any.

    ``elsewhere`` holds other metadata, such as the hyper-parameters of a data module; ``averaged``, the tensors of a
    moving average; ``unread``, the names of entries that are not plain tensors, and their kinds; ``modules``, those of
    a whole network, by name.
    """

    tensors: Mapping[str, torch.Tensor]
    hyper_parameters: Mapping[str, object]
    elsewhere: Mapping[str, object] = field(default_factory=dict)
    averaged: Mapping[str, torch.Tensor] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, StandIn] = field(default_factory=dict)


def read_weights_file(path: Path) -> WeightsFile:
    """Read a Lightning checkpoint, a file of torch.save with a network or its state dict, or a safetensors file.

    Files of torch.save are pickles: tensors, plain containers and a few plain types are read; everything else that they
    name becomes an inert stand-in.

    Raises:
        ModelError: The file does not exist, is not one of these, is damaged, or its tensors are of an unsupported kind.
    """
    if not path.is_file():
        raise ModelError(f"There is no file {path}.")
    if _is_safetensors(path):
        return WeightsFile(_checked(path, _read_safetensors(path)), {})
    check_kind(path)
    content = read_pickled(path)
    try:
        return _from_content(path, content)
    except RecursionError as exc:
        raise ModelError(f"{path} nests objects deeper than any network does.") from exc


def _from_content(path: Path, content: object) -> WeightsFile:
    if not isinstance(content, Mapping) and not is_module(content):
        refuse_object(path, content)
    said = fields(content)
    key = next((key for key in _HYPER_PARAMETERS if key in said), None)
    state = _state_dict(content)
    averaged = averaged_tensors(said, state)
    network = _whole_network(content)
    attributes = {name: value for name, value in fields(network).items() if not str(name).startswith("_")}
    beside = {} if is_module(content) else {name: value for name, value in said.items() if name != key}
    return WeightsFile(
        _checked(path, state),
        _by_name(said.get(key)),
        _elsewhere({**attributes, **beside}),
        _checked(path, averaged) if averaged else {},
        {str(name): value.called for name, value in state.items() if isinstance(value, StandIn)},
        dict(modules(network)),
    )


def _is_safetensors(path: Path) -> bool:
    """Recognize the format by its content (a length and a JSON header) or by the name."""
    return _has_header(path) or (path.suffix == ".safetensors" and not zipfile.is_zipfile(path))


def _has_header(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    return int.from_bytes(start[:8], "little") < path.stat().st_size and start[8:] == b"{"


def _read_safetensors(path: Path) -> Mapping[str, object]:
    if not _has_header(path):
        check_kind(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as exc:
        raise ModelError(f"{path} is not an intact safetensors file: {exc}.") from exc


def _state_dict(content: object, depth: int = 0) -> Mapping[Any, Any]:
    """Return the state dict in ``content``, or several joined, whose keys then become prefixes."""
    if is_module(content):
        return dict(module_tensors(content))
    said = fields(content)
    for key in _NESTED:
        nested = said.get(key)
        if is_module(nested):
            return dict(module_tensors(nested))
        if isinstance(nested, Mapping) and any(isinstance(value, torch.Tensor) for value in nested.values()):
            return {**_beside(said, key, nested), **nested}
    if depth == _DEEPEST or _holds_tensors(said) or _OF_AN_OPTIMIZER in said:
        return said
    inside = (_state_dict(value, depth + 1) for name, value in said.items() if not _is_of_training(name))
    return _beside(said) or next(filter(_holds_tensors, inside), said)


def _whole_network(content: object) -> object:
    """Return the pickled network in ``content`` whose state dict is read, or None."""
    said = fields(content)
    candidates = [content] if is_module(content) else [said.get(key) for key in _NESTED]
    return next((one for one in candidates if is_module(one)), None)


def _holds_tensors(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, torch.Tensor) for value in content.values())


def _is_of_training(name: object) -> bool:
    return not isinstance(name, str) or name.lower().startswith(_STARTS_OF_TRAINING)


def _beside(
    said: Mapping[Any, Any], key: str | None = None, known: Mapping[Any, object] | None = None
) -> Mapping[str, torch.Tensor]:
    """Return the tensors of state dicts and networks other than ``key``, such as a head's, with keys as prefixes.

    Those whose tensors are all ``known``, such as an equal copy or a network's own head, are left out.
    """
    found: dict[Any, Any] = {
        name: dict(module_tensors(value)) if is_module(value) else value
        for name, value in said.items()
        if name not in {key, _AVERAGED_FROM} and not is_averaged(str(name)) and not _is_of_training(name)
    }
    return {
        f"{name}.{of}": tensor
        for name, value in found.items()
        if isinstance(value, Mapping) and all(isinstance(tensor, torch.Tensor) for tensor in value.values())
        if any(tensor.is_floating_point() and tensor.ndim > 1 for tensor in value.values())
        if not all(_is_among(tensor, known or {}) for tensor in value.values())
        for of, tensor in value.items()
    }


def _is_among(tensor: torch.Tensor, known: Mapping[Any, object]) -> bool:
    return any(
        isinstance(one, torch.Tensor) and one.dtype == tensor.dtype and one.equal(tensor) for one in known.values()
    )


def _by_name(values: object) -> Mapping[str, object]:
    return {str(name): value for name, value in fields(plain(values)).items()}


def _elsewhere(said: Mapping[Any, Any]) -> Mapping[str, object]:
    """Return everything in the file except tensors, hyper-parameters and training state."""
    kept = {
        name: value
        for name, value in said.items()
        if (name not in {*_OF_TRAINING, *_NESTED} or isinstance(value, str)) and not isinstance(value, torch.Tensor)
    }
    return _by_name(kept)


def _checked(path: Path, state: Mapping[Any, Any]) -> Mapping[str, torch.Tensor]:
    tensors = {str(name): value.detach() for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ModelError(f"{path} holds no tensors: it is not a checkpoint of a network.")
    odd = [name for name, tensor in tensors.items() if _is_odd(tensor)]
    if odd:
        raise ModelError(
            f"{path} holds sparse, quantized, complex or empty tensors ({odd[0]}): save the network in full precision."
        )
    return tensors


def _is_odd(tensor: torch.Tensor) -> bool:
    of_8_bits = tensor.element_size() == 1 and tensor.dtype != torch.bool and tensor.ndim > 1  # without their scale
    return of_8_bits or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta

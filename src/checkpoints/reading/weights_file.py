"""A file with trained weights -> its tensors and metadata; nothing in it is ever run."""

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from src.checkpoints.reading.averaged import averaged_tensors
from src.checkpoints.reading.other_kinds import check_kind, refuse_object
from src.checkpoints.reading.pickled import read_pickled
from src.checkpoints.reading.plain import plain
from src.checkpoints.reading.stand_ins import StandIn, fields, is_module, modules
from src.checkpoints.reading.state_dicts import (
    NESTED,
    OF_TRAINING,
    holds_tensors,
    is_of_optimizer,
    is_state_dict,
    networks,
    state_dict,
)
from src.errors import ModelError

__all__ = ["WeightsFile", "read_weights_file"]

_HYPER_PARAMETERS: Final = ("hyper_parameters", "hparams", "_hparams", "args", "config", "cfg")  # the usual keys
_LIKE_THESE: Final = re.compile(
    r"((model|net|network|train|training|init|exp|experiment)_?)?"
    r"(hyper_?param(eter)?s|hparams|params|args|arguments|opts?|options|settings|kwargs|config|cfg|conf)(_dict)?"
)

_QUANTIZED: Final = re.compile(r"_packed_params|_fake_quant|activation_post_process")  # in names of torch.ao


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
        return _read_safetensors(path)
    check_kind(path)
    content = read_pickled(path)
    try:
        return _from_content(path, content)
    except RecursionError as exc:
        raise ModelError(f"{path} nests objects deeper than any network does.") from exc


def _from_content(path: Path, content: object) -> WeightsFile:
    if isinstance(content, list | tuple) and any(holds_tensors(fields(one)) or is_module(one) for one in content):
        content = {str(place): one for place, one in enumerate(content)}
    if not isinstance(content, Mapping) and not is_module(content):
        refuse_object(path, content)
    said = fields(content)
    hyper_parameters = _hyper_parameters(said)
    state = state_dict(content)
    averaged = averaged_tensors(said, state)
    whole = networks(content)
    attributes = {name: value for one in whole.values() for name, value in fields(one).items() if _is_public(name)}
    beside = {} if is_module(content) else {name: value for name, value in said.items() if name not in hyper_parameters}
    layers = {name: module for prefix, network in whole.items() for name, module in modules(network, prefix)}
    return WeightsFile(
        _checked(path, state, layers),
        {name: value for held in [*hyper_parameters.values()][::-1] for name, value in held.items()},
        _elsewhere({**attributes, **beside}),
        _checked(path, averaged) if averaged else {},
        {str(name): value.called for name, value in state.items() if isinstance(value, StandIn)},
        layers,
    )


def _hyper_parameters(said: Mapping[Any, Any]) -> Mapping[str, Mapping[str, object]]:
    """Return the containers of hyper-parameters in ``said`` by name, those with the usual names first."""
    usual = [name for name in _HYPER_PARAMETERS if name in said]
    others = [name for name in said if isinstance(name, str) and _LIKE_THESE.fullmatch(name.lower())]
    found = {name: _by_name(said[name]) for name in (*usual, *others)}
    return {name: held for name, held in found.items() if not (is_state_dict(held) or is_of_optimizer(held))}


def _is_public(name: object) -> bool:
    return not str(name).startswith("_")


def _is_safetensors(path: Path) -> bool:
    """Recognize the format by its content (a length and a JSON header) or by the name."""
    return _has_header(path) or (path.suffix == ".safetensors" and not zipfile.is_zipfile(path))


def _has_header(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    return int.from_bytes(start[:8], "little") < path.stat().st_size and start[8:] == b"{"


def _read_safetensors(path: Path) -> WeightsFile:
    if not _has_header(path):
        check_kind(path)
    try:
        with safe_open(path, framework="pt") as file:
            said = file.metadata() or {}
        return WeightsFile(_checked(path, load_file(path)), {name: _value(text) for name, text in said.items()})
    except (SafetensorError, OSError) as exc:
        raise ModelError(f"{path} is not an intact safetensors file: {exc}.") from exc


def _value(text: str) -> object:
    """Return what ``text``, the only type of metadata in such files, says in JSON, or ``text`` itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _by_name(values: object) -> Mapping[str, object]:
    return {str(name): value for name, value in fields(plain(values)).items()}


def _elsewhere(said: Mapping[Any, Any]) -> Mapping[str, object]:
    """Return everything in the file except tensors, hyper-parameters and training state."""
    kept = {
        name: value
        for name, value in said.items()
        if name not in OF_TRAINING and not isinstance(value, torch.Tensor) and not _is_network(name, value)
    }
    return _by_name(kept)


def _is_network(name: object, value: object) -> bool:
    return name in NESTED and (is_module(value) or holds_tensors(fields(value)))


def _checked(
    path: Path, state: Mapping[Any, Any], layers: Mapping[str, StandIn] | None = None
) -> Mapping[str, torch.Tensor]:
    tensors = {str(name): value.detach() for name, value in state.items() if isinstance(value, torch.Tensor)}
    quantized = [name for name, layer in (layers or {}).items() if ".quantized." in layer.called]
    odd = quantized or [name for name in map(str, state) if _QUANTIZED.search(name)]
    odd = odd or [name for name, tensor in tensors.items() if _is_odd(tensor)]
    if odd:
        raise ModelError(
            f"{path} holds sparse, quantized, complex or empty tensors ({odd[0]}): save the network in full precision."
        )
    if not tensors:
        raise ModelError(f"{path} holds no tensors: it is not a checkpoint of a network.")
    part = next((name for name, tensor in tensors.items() if type(tensor) is not torch.Tensor), None)
    if part is not None:
        raise ModelError(
            f"{path} holds parts of tensors, as FSDP distributes them ({part}): save the whole ones, which"
            " torch.distributed.checkpoint.state_dict.get_model_state_dict returns with the option full_state_dict."
        )
    return tensors


def _is_odd(tensor: torch.Tensor) -> bool:
    of_8_bits = tensor.element_size() == 1 and tensor.dtype != torch.bool and tensor.ndim > 1  # without their scale
    return of_8_bits or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta

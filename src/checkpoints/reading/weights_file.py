"""A file with trained weights -> its tensors and hyper-parameters; nothing in it is ever run."""

import argparse
import pickle
import pickletools
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.serialization import safe_globals

from src.errors import ModelError

__all__ = ["WeightsFile", "read_weights_file"]

_NESTED: Final = ("state_dict", "model_state_dict", "model", "net", "weights")
_HYPER_PARAMETERS: Final = ("hyper_parameters", "hparams", "args")
_MAX_EXPANSION: Final = 2
_MAX_STAND_INS: Final = 64
_OFFENDER: Final = re.compile(r"GLOBAL ([\w.]+)")
# Lightning writes its own classes as mere names, such as callbacks that are keys: these may be named, never loaded.
_NAMED_BY_LIGHTNING: Final = re.compile(r"(?:pytorch_lightning|lightning\.pytorch)\.(?:callbacks|utilities)\.[\w.]+")


class _StandIn:
    """Takes the place of a class that a file names: keeps nothing and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        """Take whatever the class would."""

    def __setstate__(self, state: object) -> None:
        """Drop the state."""


_OF_TORCH: Final = ("collections", "torch", "torch._utils")
_NUMPY_SCALAR: Final = np.float64(0).__reduce__()[0]
# Harmless types that Lightning writes beside what torch allows (tensors, ordered dicts, sizes, dtypes). Lightning's
# attribute dictionaries become plain ones, so that none of its code is loaded.
_ALLOWED: Final[list[Any]] = [
    (dict, "pytorch_lightning.utilities.parsing.AttributeDict"),
    (dict, "lightning.pytorch.utilities.parsing.AttributeDict"),
    (dict, "lightning_fabric.utilities.data.AttributeDict"),
    (dict, "lightning.fabric.utilities.data.AttributeDict"),
    (argparse.Namespace, "argparse.Namespace"),
    (PurePath, "pathlib.Path"),
    (PurePath, "pathlib.PosixPath"),
    (PurePath, "pathlib.WindowsPath"),
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    (np.dtype, "numpy.dtype"),
    *{type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?U"},
]


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """What a file holds: tensors under the names that it gives them, and hyper-parameters, if any."""

    tensors: Mapping[str, torch.Tensor]
    hyper_parameters: Mapping[str, object]


def read_weights_file(path: Path) -> WeightsFile:
    """Read a Lightning checkpoint, a file of torch.save with a state dict, or a safetensors file.

    Files of torch.save are pickles: only tensors, plain containers and the few types above come out of them; any other
    name in the file, wherever in it, refuses the file as a whole.

    Raises:
        ModelError: The file is not there, is none of these, is damaged, or names something that is not allowed.
    """
    if not path.is_file():
        raise ModelError(f"There is no file {path}.")
    if _is_safetensors(path):
        return _checked(path, _read_safetensors(path), {})
    content = _read_pickled(path)
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a checkpoint or a state dict.")
    hyper_parameters: object = next((content[key] for key in _HYPER_PARAMETERS if key in content), {})
    if isinstance(hyper_parameters, argparse.Namespace):
        hyper_parameters = vars(hyper_parameters)
    return _checked(path, _state_dict(content), hyper_parameters if isinstance(hyper_parameters, Mapping) else {})


def _is_safetensors(path: Path) -> bool:
    """Tell by the content, which is a header in JSON behind its length, and only of what is neither by the name."""
    with path.open("rb") as file:
        start = file.read(9)
    if int.from_bytes(start[:8], "little") < path.stat().st_size and start[8:] == b"{":
        return True
    return path.suffix == ".safetensors" and not zipfile.is_zipfile(path)


def _read_safetensors(path: Path) -> Mapping[str, object]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as exc:
        raise ModelError(f"{path} is no intact safetensors file: {exc}.") from exc


def _read_pickled(path: Path) -> object:
    _check_archive(path)
    stand_ins: list[Any] = []
    while True:
        try:
            # Opened here: torch would go by the name.
            with path.open("rb") as file, safe_globals([*_ALLOWED, *stand_ins]), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's advice for those who load such files themselves
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as exc:
            offender = _OFFENDER.search(str(exc))
            name = offender[1] if offender else _foreign_name(path)
            if not _NAMED_BY_LIGHTNING.fullmatch(name) or len(stand_ins) == _MAX_STAND_INS:
                raise ModelError(_refusal(path, name)) from exc
            stand_ins.append((type("StandIn", (_StandIn,), {}), name))
        except Exception as exc:  # a damaged pickle raises anything, EOFError to RuntimeError
            if name := _foreign_name(path):
                raise ModelError(_refusal(path, name)) from exc
            raise ModelError(f"{path} is no intact checkpoint: it is damaged, cut off, or of another kind.") from exc


def _refusal(path: Path, name: str) -> str:
    if not name:
        return f"{path} is no checkpoint that can be read safely: save its state dict alone and use that file."
    return f"{path} names {name}, which could run code when loaded: save the state dict alone and use that file."


def _foreign_name(path: Path) -> str:
    """Return the first name that a bare pickle, which torch does not read, would load; nothing is loaded here."""
    texts: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(path.read_bytes()):
            if operation.name == "GLOBAL":
                texts = str(argument).split(" ")
            elif isinstance(argument, str):
                texts.append(argument)
            if operation.name in {"GLOBAL", "STACK_GLOBAL"} and texts[-2] not in _OF_TORCH:
                return ".".join(texts[-2:])
    except Exception:  # noqa: BLE001 - it is no pickle
        return ""
    return ""


def _check_archive(path: Path) -> None:
    """Refuse an archive that is damaged, or unpacks to far more than it is: torch writes its archives uncompressed."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > _MAX_EXPANSION * path.stat().st_size:
                raise ModelError(f"{path} would unpack to {unpacked / 1e9:.1f} GB: torch writes no such archives.")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as exc:
        raise ModelError(f"{path} is no intact checkpoint: its archive is damaged.") from exc
    if damaged:
        raise ModelError(f"{path} is damaged: the check sum of {damaged} in it is wrong. Copy or save it anew.")


def _state_dict(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    for key in _NESTED:
        nested = content.get(key)
        if isinstance(nested, Mapping) and any(isinstance(value, torch.Tensor) for value in nested.values()):
            return nested
    return content


def _checked(path: Path, state: Mapping[Any, Any], hyper_parameters: Mapping[Any, Any]) -> WeightsFile:
    tensors = {str(name): value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ModelError(f"{path} holds no tensors: it is no checkpoint of a network.")
    odd = [name for name, tensor in tensors.items() if _is_odd(tensor)]
    if odd:
        raise ModelError(
            f"{path} holds sparse, quantized, complex or empty tensors ({odd[0]}): save the network in full precision."
        )
    return WeightsFile(tensors, {str(name): value for name, value in hyper_parameters.items()})


def _is_odd(tensor: torch.Tensor) -> bool:
    of_8_bits = tensor.element_size() == 1 and tensor.dtype != torch.bool and tensor.ndim > 1  # without their scale
    return of_8_bits or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta

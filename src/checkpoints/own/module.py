"""The user's own network class, from a Python file: the only code that is run, and only on request."""

import importlib
import inspect
import sys
from argparse import Namespace
from collections.abc import Collection, Mapping
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from src.checkpoints.given import Note
from src.checkpoints.own.project import dotted_name, project
from src.errors import ModelError, Remedy

__all__ = ["ARCHITECTURE_PREFIX", "Arguments", "instantiate", "parse_reference"]

ARCHITECTURE_PREFIX: Final = "module/"
# Usual names of a required argument that takes all hyper-parameters, if the file does not name it.
_ALL_IN_ONE: Final = ("hparams", "hyperparams", "hyper_parameters", "args", "opt", "params", "cfg", "config", "conf")
_REQUIRED: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLAIN: Final = (
    str,
    bytes,
    int,
    float,
    list,
    tuple,
    set,
    frozenset,
    dict,
    type(None),
    PurePath,
    np.ndarray,
    torch.Tensor,
)


class Arguments:
    """The arguments for a class: the hyper-parameters of a file, and those that the user ``said``.

    Args:
        hyper_parameters: Those of the file; only plain values, paths, arrays and tensors are passed on.
        said: Arguments by name, which override them.
        whole: Name of the argument that takes all hyper-parameters, as Lightning stores it (``hparams_name``).
    """

    def __init__(
        self,
        hyper_parameters: Mapping[str, object],
        said: Mapping[str, object] | None = None,
        whole: str | None = None,
    ) -> None:
        self._said = dict(said or {})
        kept = {
            name: Path(value) if isinstance(value, PurePath) else value
            for name, value in hyper_parameters.items()
            if isinstance(value, _PLAIN)
        }
        self._known = {name: value for name, value in kept.items() if not name.startswith("_")} | self._said
        self._objects = hyper_parameters.keys() - self._known.keys()
        self._whole = whole

    def notes(self, cls: type[object]) -> tuple[Note, ...]:
        """Return a note on hyper-parameters that are objects, for which ``cls`` used its own defaults."""
        names = [name for name in inspect.signature(cls).parameters if name in self._objects]
        if not names:
            return ()
        sentence = f"arguments: the class's defaults for {', '.join(names)}, not stored as plain values in the file"
        return (Note(sentence, (Remedy("arg", f"{names[0]}=VALUE"),)),)

    def of(self, cls: type[object]) -> dict[str, object]:
        """Return the arguments that ``cls`` takes.

        Raises:
            ModelError: It needs arguments that are not known, or does not take one that the user gave.
        """
        parameters = inspect.signature(cls).parameters
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        named = {name for name, parameter in parameters.items() if parameter.kind in _REQUIRED}
        given = {name: value for name, value in self._known.items() if takes_all or name in named}
        free = named - given.keys()
        missing = [name for name in parameters if name in free and _is_needed(parameters[name])]
        if whole := self._takes_whole(free, missing):
            given = {name: value for name, value in given.items() if name in named} | {whole: _Whole(self._known)}
        elif surplus := self._said.keys() - given.keys():
            raise ModelError(f"The class {cls.__name__} takes no argument {min(surplus)!r}.")
        missing = [name for name in missing if name not in given]
        if missing:
            raise ModelError(
                f"The class {cls.__name__} needs {', '.join(missing)}, which the file does not have as plain values.",
                *(Remedy("arg", f"{name}=VALUE") for name in missing),
            )
        return given

    def _takes_whole(self, free: Collection[str], missing: Collection[str]) -> str | None:
        """Return the argument that Lightning stored as the one for all, or else a required one with a usual name."""
        return self._whole if self._whole in free else next((name for name in _ALL_IN_ONE if name in missing), None)


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


class _Whole(dict[str, Any], Namespace):
    """All hyper-parameters as a mapping with attribute access, as Lightning passes them."""

    def __init__(self, values: Mapping[str, object]) -> None:
        super().__init__({name: _attributes(value) for name, value in values.items()})
        self.__dict__ = self


def _attributes(value: object) -> object:
    return _Whole(value) if isinstance(value, dict) and all(isinstance(name, str) for name in value) else value


def parse_reference(reference: str) -> tuple[Path, str]:
    """Return file and class of ``path/to/file.py:Class``.

    Raises:
        ModelError: It does not have this form, or the file does not exist.
    """
    file, _, name = reference.rpartition(":")
    if not file or not name.isidentifier() or not Path(file).is_file():
        raise ModelError(f"{reference!r} does not name a class in a file: write path/to/file.py:Class.")
    if file.endswith(".ipynb"):
        raise ModelError(f"{file} is a notebook: copy the class and its imports into a file, and name that one.")
    return Path(file), name


def instantiate(file: Path, name: str, arguments: Arguments) -> nn.Module:
    """Run the code of ``file`` and return an instance of its class ``name``, in eval mode, fp32, without gradients.

    Imports resolve in its own project. Nothing is written beside it. Gradients stay enabled even if it disables them.

    Raises:
        ModelError: The code or the class fails, or the class is not a network.
    """
    try:
        with project(file), torch.enable_grad():
            cls = getattr(_imported(file), name)
            network = cls(**arguments.of(cls))
    except ModelError:
        raise
    except (Exception, SystemExit) as exc:
        raise ModelError(f"{file}:{name} cannot be instantiated: {type(exc).__name__}: {exc}.{_advice(exc)}") from exc
    if not isinstance(network, nn.Module):
        raise ModelError(f"{file}:{name} is a {type(network).__name__}, not a torch.nn.Module.")
    return network.float().eval().requires_grad_(requires_grad=False)


def _imported(file: Path) -> ModuleType:
    """Run ``file`` under the name that its project imports it by, so that its relative imports work."""
    name = dotted_name(file)
    package, _, _ = name.rpartition(".")
    if package:
        importlib.import_module(package)
    module = ModuleType(name)
    module.__file__, module.__package__ = str(file.resolve()), package
    sys.modules[name] = module
    exec(compile(file.read_bytes(), file, "exec"), module.__dict__)  # noqa: S102 - what --module asks for
    return module


def _advice(exc: BaseException) -> str:
    if isinstance(exc, ModuleNotFoundError):
        return (
            f" {exc.name} was not found in the project of this file and is not installed: install it here, or add the"
            " folder that holds it to the environment variable PYTHONPATH."
        )
    if isinstance(exc, OSError):
        return " It needs a file or the internet when it is created: give it an argument that prevents this."
    return ""

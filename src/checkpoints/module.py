"""A person's own network class, from a Python file: the one thing that is run, and only because it was asked for."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

from torch import nn

from src.errors import ModelError

__all__ = ["ARCHITECTURE_PREFIX", "instantiate", "parse_reference"]

ARCHITECTURE_PREFIX: Final = "module/"


def parse_reference(reference: str) -> tuple[Path, str]:
    """Return file and class of ``path/to/file.py:Class``.

    Raises:
        ModelError: It is not written like that, or there is no such file.
    """
    file, _, name = reference.rpartition(":")
    if not file or not name.isidentifier() or not Path(file).is_file():
        raise ModelError(f"{reference!r} names no class in a file: write path/to/file.py:Class.")
    return Path(file), name


def instantiate(file: Path, name: str, arguments: Mapping[str, object]) -> nn.Module:
    """Run the code of ``file`` and return an instance of its class ``name``, in eval mode, without gradients.

    Of ``arguments`` it gets those that it takes.

    Raises:
        ModelError: The code or the class fails, or the class is no network.
    """
    module = ModuleType(file.stem)
    module.__file__ = str(file)
    try:
        # Not by import, which would run what it finds in a cache beside the file, and leave one in the model store.
        exec(compile(file.read_bytes(), file, "exec"), module.__dict__)  # noqa: S102 - what --module asks for
        network = _called(getattr(module, name), arguments)
    except (Exception, SystemExit) as exc:
        raise ModelError(f"{file}:{name} cannot be made: {type(exc).__name__}: {exc}.") from exc
    if not isinstance(network, nn.Module):
        raise ModelError(f"{file}:{name} makes a {type(network).__name__}, not a torch.nn.Module.")
    return network.eval().requires_grad_(requires_grad=False)


def _called(cls: type[object], arguments: Mapping[str, object]) -> object:
    parameters = inspect.signature(cls).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return cls(**{name: value for name, value in arguments.items() if takes_all or name in parameters})

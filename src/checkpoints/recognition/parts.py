"""Group tensors by every prefix of their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch

__all__ = ["Part", "parts"]

_WRAPPERS: Final = ("_orig_mod", "module")  # of torch.compile, and of DataParallel and DDP


@dataclass(frozen=True, slots=True)
class Part:
    """The tensors of a file under ``prefix``, by the rest of their names, and their full names in the file."""

    prefix: str
    tensors: Mapping[str, torch.Tensor]
    names: Mapping[str, str]


def parts(tensors: Mapping[str, torch.Tensor]) -> Sequence[Part]:
    """Return ``tensors`` grouped by each of their prefixes, the largest group first."""
    plain: dict[str, str] = {}
    for name in tensors:
        unwrapped = ".".join(step for step in name.split(".") if step not in _WRAPPERS)
        plain[name if unwrapped in plain else unwrapped] = name
    behind: dict[str, dict[str, str]] = {}
    for name, stored in plain.items():
        steps = name.split(".")
        for depth in range(len(steps)):
            behind.setdefault(".".join(steps[:depth]), {})[".".join(steps[depth:])] = stored
    found = (Part(prefix, {name: tensors[of] for name, of in names.items()}, names) for prefix, names in behind.items())
    return sorted(found, key=lambda part: (-len(part.names), part.prefix))

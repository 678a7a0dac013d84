"""Group tensors by every prefix of their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch

__all__ = ["Part", "parts", "unwrapped"]

# Of torch.compile, of DataParallel and DDP, of FSDP, and of activation checkpointing.
_WRAPPERS: Final = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@dataclass(frozen=True, slots=True)
class Part:
    """The tensors of a file under ``prefix``, by the rest of their names, and their full names in the file."""

    prefix: str
    tensors: Mapping[str, torch.Tensor]
    names: Mapping[str, str]


def unwrapped(name: str) -> str:
    """Return the name of a tensor or layer without the wrappers around it."""
    return ".".join(step for step in name.split(".") if step not in _WRAPPERS)


def parts(tensors: Mapping[str, torch.Tensor]) -> Sequence[Part]:
    """Return ``tensors`` grouped by each of their prefixes, the largest group first."""
    plain: dict[str, str] = {}
    for name in tensors:
        short = unwrapped(name)
        plain[name if short in plain else short] = name
    behind: dict[str, dict[str, str]] = {}
    for name, stored in plain.items():
        steps = name.split(".")
        for depth in range(len(steps)):
            behind.setdefault(".".join(steps[:depth]), {})[".".join(steps[depth:])] = stored
    found = (Part(prefix, {name: tensors[of] for name, of in names.items()}, names) for prefix, names in behind.items())
    return sorted(found, key=lambda part: (-len(part.names), part.prefix))

"""Look up an architecture by name, and check whether tensors are exactly its own or fit another one better."""

import difflib
from collections.abc import Mapping
from typing import Final

import timm
import torch
from torch import nn

from src.checkpoints.fingerprints import build_empty, every_architecture, similar_architectures
from src.checkpoints.inputs.published import current_name, with_tag
from src.checkpoints.reading.averaged import is_averaged
from src.checkpoints.recognition.bodies import find_bodies
from src.checkpoints.recognition.parts import Part, parts
from src.checkpoints.recognition.trunks import PROBE_CLASSES
from src.checkpoints.tensors import COUNTER, describe_faults, load_weights
from src.errors import ModelError, Remedy

__all__ = ["explain_misfit", "full_name", "load_exactly", "nearest", "untagged"]

_MAX_PREFIXES: Final = 4
_MAX_SIMILAR: Final = 12


def full_name(name: str) -> str:
    """Return ``name`` with its library; a name that exists in both is torchvision's.

    Raises:
        ModelError: Neither library has a network of that name.
    """
    known = every_architecture()
    for candidate in (name, f"torchvision/{name}", f"timm/{name}"):
        if candidate in known:
            return candidate
    short = {architecture.partition("/")[2] for architecture in known}
    similar = difflib.get_close_matches(name.rpartition("/")[2], short, n=3)
    hint = f": did you mean {' or '.join(similar)}?" if similar else "."
    raise ModelError(f"Neither torchvision nor timm has a network {name!r}{hint}")


def untagged(name: str) -> str:
    """Return ``name`` as its library spells it today, without the tag of published weights.

    If it has a tag, the library comes first, since the tag shows which one it is.

    Raises:
        ModelError: The library has no weights with that tag.
    """
    known = set(every_architecture())
    if known & {name, f"torchvision/{name}", f"timm/{name}"}:
        return name
    architecture, _, tag = current_name(name).partition(".")
    library, _, short = architecture.rpartition("/")
    owners = [f"{one}/{short}" for one in ("timm", "torchvision") if library in {"", one} and f"{one}/{short}" in known]
    if not tag or not owners:
        return architecture
    if found := next((owner for owner in owners if with_tag(owner, tag) != owner), None):
        return found
    tags = ", ".join(timm.list_pretrained(f"{short}.*")) or "none"
    raise ModelError(
        f"There are no published weights {short}.{tag} (timm has {tags}): name those, or the network alone.",
        Remedy("architecture", short),
    )


def explain_misfit(tensors: Mapping[str, torch.Tensor], architecture: str) -> ModelError:
    """Return the error that says why ``tensors`` do not fit ``architecture``, and which network they would fit."""
    probe = build_empty(architecture, PROBE_CLASSES).state_dict()
    num_classes = _num_classes_of(_likeliest(tensors, probe), architecture)
    expected = build_empty(architecture, num_classes).state_dict()
    return _misfit(tensors, architecture, describe_faults(expected, _own(_likeliest(tensors, expected), expected)))


def load_exactly(
    network: nn.Module, tensors: Mapping[str, torch.Tensor], architecture: str, prefix: str | None = None
) -> tuple[str, ...]:
    """Load ``tensors`` into ``network``, which is of ``architecture``, and return the names of those left out.

    Tensors outside the network's children, such as those of losses, are left out; tensors inside must all be its own.
    ``prefix`` is the one to use where several have all of them.

    Raises:
        ModelError: Tensors are missing, surplus or of another shape (the message names them, and what would fit), or
            several prefixes have all of them.
    """
    expected = network.state_dict()
    part = _chosen(tensors, expected, prefix)
    own = _own(part, expected)
    if faults := describe_faults(expected, own):
        raise _misfit(tensors, architecture, faults)
    used = {part.names[name] for name in own if name in part.names}
    load_weights(network, own)
    return tuple(name for name in tensors if name not in used)


def _chosen(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], prefix: str | None) -> Part:
    behind = parts(tensors)
    if prefix is not None:
        named = next((part for part in behind if part.prefix == prefix.strip(".")), None)
        if named is None:
            raise ModelError(f"No tensor of the file begins with {prefix!r}.", Remedy("network"))
        return named
    whole = [part for part in behind if _has_all(part, expected) and not is_averaged(part.prefix)]
    first, *others = whole or [_likeliest(tensors, expected)]
    different = [part for part in others if not all(part.tensors[name].equal(first.tensors[name]) for name in expected)]
    if different:
        raise ModelError(
            f"The class fits {len(different) + 1} networks in the file: choose one.",
            *(Remedy("network", part.prefix or ".") for part in (first, *different)),
        )
    return first


def _has_all(part: Part, expected: Mapping[str, torch.Tensor]) -> bool:
    return all(name in part.tensors and part.tensors[name].shape == tensor.shape for name, tensor in expected.items())


def _own(part: Part, expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    children = {name.partition(".")[0] for name in expected}
    counters = {name: torch.tensor(0) for name in expected if name.endswith(COUNTER)}
    return counters | {name: tensor for name, tensor in part.tensors.items() if name.partition(".")[0] in children}


def _likeliest(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> Part:
    return max(parts(tensors), key=lambda part: len(expected.keys() & part.tensors.keys()))


def _misfit(tensors: Mapping[str, torch.Tensor], architecture: str, faults: str) -> ModelError:
    fitting = [body.architectures[0] for body in find_bodies(tensors) if body.is_complete and body.stem is None]
    others = [name for name in fitting if name != architecture]
    better = f" They are those of {others[0]}." if others else nearest(tensors)
    return ModelError(f"The tensors do not fit {architecture}: {faults}.{better}")


def nearest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Name the architecture that shares the most tensors, by name and shape, with ``tensors``, and the differences.

    Empty if none shares many.
    """
    best: tuple[int, str, str] = (0, "", "")
    for part in parts(tensors)[:_MAX_PREFIXES]:
        for architecture in similar_architectures(part.tensors)[:_MAX_SIMILAR]:
            expected = build_empty(architecture, _num_classes_of(part, architecture)).state_dict()
            alike = sum(name in part.tensors and part.tensors[name].shape == expected[name].shape for name in expected)
            if alike > best[0]:
                best = (alike, architecture, describe_faults(expected, part.tensors))
    return f" The nearest is {best[1]}, but {best[2]}." if best[2] else ""


def _num_classes_of(part: Part, architecture: str) -> int:
    """Return the size of the last layer in ``part``, even if other layers contradict it."""
    probe = build_empty(architecture, PROBE_CLASSES).state_dict()
    for name in reversed(probe):
        stored = part.tensors.get(name)
        if stored is not None and stored.ndim == probe[name].ndim and PROBE_CLASSES in probe[name].shape:
            return stored.shape[list(probe[name].shape).index(PROBE_CLASSES)]
    return PROBE_CLASSES

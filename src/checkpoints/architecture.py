"""Tensors under any names -> the architecture that they belong to, under its own names, and its number of classes."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import torch

from src.checkpoints.fingerprints import architectures_with, build_empty, every_architecture, similar_architectures
from src.checkpoints.network import RGB
from src.checkpoints.tensors import describe_faults
from src.errors import ModelError, Remedy

__all__ = ["Fit", "fit", "fit_expected", "full_name", "nearest", "recognize"]

_WRAPPERS: Final = ("_orig_mod", "module")  # of torch.compile, and of DataParallel and DDP
_COPIES: Final = ("ema", "teacher", "momentum", "average", "averaged", "swa")
_COUNTER: Final = "num_batches_tracked"
_MAX_SURPLUS_CHILDREN: Final = 3
_PROBE_CLASSES: Final = 4_099  # a size that no other layer has
_MAX_PREFIXES: Final = 4
_MAX_SIMILAR: Final = 12
_CONVOLUTION: Final = 4  # dimensions of its weight: (outputs, inputs, height, width)


@dataclass(frozen=True, slots=True)
class Fit:
    """Tensors of a file that make up a network: ``weights`` has the names of ``architecture``.

    ``left_out`` are the names, as the file has them, of tensors that are not part of the network.
    """

    architecture: str
    num_classes: int
    weights: Mapping[str, torch.Tensor]
    left_out: tuple[str, ...]
    channels: int = RGB


@dataclass(frozen=True, slots=True)
class _Part:
    """Some tensors of a file, by their names behind a common prefix, and the names that the file has for them."""

    tensors: Mapping[str, torch.Tensor]
    names: Mapping[str, str]


def full_name(name: str) -> str:
    """Return ``name`` with its library; a name that both have is torchvision's.

    Raises:
        ModelError: No library has a network of that name.
    """
    known = every_architecture()
    for candidate in (name, f"torchvision/{name}", f"timm/{name}"):
        if candidate in known:
            return candidate
    short = {architecture.partition("/")[2] for architecture in known}
    similar = difflib.get_close_matches(name.rpartition("/")[2], short, n=3)
    hint = f": did you mean {' or '.join(similar)}?" if similar else "."
    raise ModelError(f"Neither torchvision nor timm has a network {name!r}{hint}")


def fit(tensors: Mapping[str, torch.Tensor], architecture: str) -> Fit:
    """Find the tensors of ``architecture`` among ``tensors``, whatever prefix they have and whatever else is there.

    Raises:
        ModelError: Some are missing or have other shapes; the message names them, and the network that would fit.
    """
    part = _likeliest(tensors, build_empty(architecture, _PROBE_CLASSES).state_dict())
    channels, probe = _probe(part, architecture)
    num_classes = _num_classes(part, probe) or _num_classes_of(part, architecture)
    expected = build_empty(architecture, num_classes, channels).state_dict()
    return replace(fit_expected(tensors, architecture, expected, num_classes), channels=channels)


def fit_expected(
    tensors: Mapping[str, torch.Tensor], architecture: str, expected: Mapping[str, torch.Tensor], num_classes: int = 0
) -> Fit:
    """Find just the ``expected`` tensors of a network among ``tensors``.

    What lies beside the network's own children, such as losses, is left out; what lies within them must belong there.

    Raises:
        ModelError: Some are missing, surplus, or have other shapes; the message names them, and what would fit.
    """
    try:
        return _select(tensors, architecture, expected, num_classes)
    except ModelError as exc:
        raise ModelError(f"{exc}{_better(tensors)}") from None


def _select(
    tensors: Mapping[str, torch.Tensor], architecture: str, expected: Mapping[str, torch.Tensor], num_classes: int
) -> Fit:
    part = _likeliest(tensors, expected)
    children = {name.partition(".")[0] for name in expected}
    counters = {name: torch.tensor(0) for name in expected if name.endswith(_COUNTER)}
    own = {name: tensor for name, tensor in part.tensors.items() if name.partition(".")[0] in children}
    faults = describe_faults(expected, counters | own)
    if faults:
        raise ModelError(f"The tensors do not fit {architecture}: {faults}.")
    used = {part.names[name] for name in own}
    return Fit(architecture, num_classes, counters | own, tuple(name for name in tensors if name not in used))


def _likeliest(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> _Part:
    return max(_parts(tensors), key=lambda part: len(expected.keys() & part.tensors.keys()))


def recognize(tensors: Mapping[str, torch.Tensor]) -> tuple[Fit, ...]:
    """Return the architectures of torchvision and timm that ``tensors`` fit exactly, the likeliest first."""
    for part in _parts(tensors):
        for candidate in _without_surplus(part):
            fits = tuple(_exact_fits(candidate, tensors))
            if fits:
                return fits
    return ()


def _exact_fits(part: _Part, tensors: Mapping[str, torch.Tensor]) -> Iterator[Fit]:
    named = {part.names[name]: tensor for name, tensor in part.tensors.items()} | dict(tensors)
    for architecture in architectures_with(part.tensors):
        channels, probe = _probe(part, architecture)
        num_classes = _num_classes(part, probe)
        if num_classes is not None:
            expected = build_empty(architecture, num_classes, channels).state_dict()
            with suppress(ModelError):
                yield replace(_select(named, architecture, expected, num_classes), channels=channels)


def _probe(part: _Part, architecture: str) -> tuple[int, Mapping[str, torch.Tensor]]:
    """Return how many channels the first convolution in ``part`` takes, and the tensors of such a network.

    Raises:
        ModelError: Images have not so many.
    """
    probe = build_empty(architecture, _PROBE_CLASSES).state_dict()
    first = next((name for name, tensor in probe.items() if tensor.ndim == _CONVOLUTION and tensor.shape[1] == RGB), "")
    stored = part.tensors.get(first)
    if stored is None or stored.ndim != _CONVOLUTION or stored.shape[1] == RGB:
        return RGB, probe
    if stored.shape[1] != 1:
        raise ModelError(
            f"The first convolution, {part.names[first]}, takes {stored.shape[1]} channels, but images have 3 (red,"
            " green and blue) or 1 (gray): serve a class of your own that makes its channels of these.",
            Remedy("module"),
        )
    return 1, build_empty(architecture, _PROBE_CLASSES, 1).state_dict()


def _better(tensors: Mapping[str, torch.Tensor]) -> str:
    fits = recognize(tensors)
    return f" They are those of {fits[0].architecture}." if fits else nearest(tensors)


def nearest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Say which architecture shares most tensors, of name and shape, with ``tensors``, and in which ones they differ.

    Nothing if none shares many.
    """
    best: tuple[int, str, str] = (0, "", "")
    for part in _parts(tensors)[:_MAX_PREFIXES]:
        for architecture in similar_architectures(part.tensors)[:_MAX_SIMILAR]:
            expected = build_empty(architecture, _num_classes_of(part, architecture)).state_dict()
            alike = sum(name in part.tensors and part.tensors[name].shape == expected[name].shape for name in expected)
            if alike > best[0]:
                best = (alike, architecture, describe_faults(expected, part.tensors))
    return f" The nearest is {best[1]}, but {best[2]}." if best[2] else ""


def _num_classes_of(part: _Part, architecture: str) -> int:
    """Return the size of the last layer in ``part``, which other layers may contradict."""
    probe = build_empty(architecture, _PROBE_CLASSES).state_dict()
    for name in reversed(probe):
        stored = part.tensors.get(name)
        if stored is not None and stored.ndim == probe[name].ndim and _PROBE_CLASSES in probe[name].shape:
            return stored.shape[list(probe[name].shape).index(_PROBE_CLASSES)]
    return _PROBE_CLASSES


def _num_classes(part: _Part, expected: Mapping[str, torch.Tensor]) -> int | None:
    """Return the size that the last layer has in ``part``; ``expected`` are the tensors for ``_PROBE_CLASSES`` classes.

    None where tensors differ from the expected in more than this one size.
    """
    sizes = set()
    for name, tensor in expected.items():
        stored = part.tensors.get(name)
        if stored is None or stored.shape == tensor.shape:
            continue
        differing = [(size, wanted) for size, wanted in zip(stored.shape, tensor.shape, strict=False) if size != wanted]
        if stored.ndim != tensor.ndim or any(wanted != _PROBE_CLASSES for _, wanted in differing):
            return None
        sizes |= {size for size, _ in differing}
    return sizes.pop() if len(sizes) == 1 else _PROBE_CLASSES if not sizes else None


def _parts(tensors: Mapping[str, torch.Tensor]) -> Sequence[_Part]:
    """Return ``tensors`` behind each of their prefixes: most tensors first, but copies such as moving averages last."""
    plain: dict[str, str] = {}
    for name in tensors:
        plain.setdefault(".".join(step for step in name.split(".") if step not in _WRAPPERS), name)
    steps = [name.split(".") for name in plain]
    prefixes = {".".join(path[:depth]) for path in steps for depth in range(len(path))}

    def behind(prefix: str) -> _Part:
        start = f"{prefix}." if prefix else ""
        names = {name[len(start) :]: stored for name, stored in plain.items() if name.startswith(start)}
        return _Part({name: tensors[stored] for name, stored in names.items()}, names)

    def order(prefix: str) -> tuple[bool, int, str]:
        is_copy = any(word in step for step in prefix.lower().split(".") for word in _COPIES)
        return is_copy, -sum(name.startswith(prefix) for name in plain), prefix

    return [behind(prefix) for prefix in sorted(prefixes, key=order)]


def _without_surplus(part: _Part) -> Iterator[_Part]:
    """Yield ``part``, then what is left of it without a few of its children, such as losses and metrics."""
    children = sorted({name.partition(".")[0] for name in part.tensors})
    for count in range(_MAX_SURPLUS_CHILDREN + 1):
        for surplus in combinations(children, count):
            kept = {name: stored for name, stored in part.names.items() if name.partition(".")[0] not in surplus}
            yield _Part({name: part.tensors[name] for name in kept}, kept)

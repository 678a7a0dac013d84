"""Find networks among tensors, complete or without their last layer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch

from src.checkpoints.fingerprints import Entry, build_empty, index, keys
from src.checkpoints.network import RGB
from src.checkpoints.recognition.parts import Part, parts
from src.checkpoints.recognition.trunks import PROBE_CLASSES, Trunk, build_trunk, of_classes
from src.checkpoints.tensors import COUNTER

__all__ = ["Body", "Stem", "find_bodies"]

_FEWEST: Final = 8  # tensors that count as a network
_OF_A_CONVOLUTION: Final = 4  # dimensions


@dataclass(frozen=True, slots=True)
class Stem:
    """A first convolution whose shape (out, in, height, width) differs from the architecture's."""

    name: str
    shape: tuple[int, ...]
    expected: tuple[int, ...]

    @property
    def is_own(self) -> bool:
        """Whether only the number of channels differs."""
        return self.shape[2:] == self.expected[2:]


@dataclass(frozen=True, slots=True)
class Body:
    """A network under ``prefix``: the ``trunk`` of any of ``architectures``, and their last layer if it exists.

    ``weights`` uses the names of the architecture; ``names`` maps them to those of the file. ``num_classes`` is None if
    the last layer is not the architecture's own.
    """

    prefix: str
    architectures: tuple[str, ...]
    trunk: Trunk
    weights: Mapping[str, torch.Tensor]
    names: Mapping[str, str]
    num_classes: int | None
    stem: Stem | None

    @property
    def is_complete(self) -> bool:
        """Whether the architecture's own last layer exists."""
        return self.num_classes is not None

    @property
    def channels(self) -> int:
        """Number of channels of its images."""
        return self.stem.shape[1] if self.stem else RGB

    @property
    def place(self) -> str:
        """Its prefix as the user writes it."""
        return self.prefix or "."

    @property
    def described(self) -> str:
        """Its place and its architecture."""
        return f"{self.place} ({self.architectures[0]}{'' if self.is_complete else ' without its last layer'})"

    def surrounds(self, name: str) -> bool:
        """Return whether the file's tensor ``name`` lies inside the network."""
        if self.prefix:
            return name.startswith(f"{self.prefix}.")
        return name.partition(".")[0] in {own.partition(".")[0] for own in self.weights}


def find_bodies(tensors: Mapping[str, torch.Tensor], architecture: str | None = None) -> list[Body]:
    """Return the networks among ``tensors``, only those of ``architecture`` if given, the largest first."""
    found: list[Body] = []
    used: set[str] = set()
    for part in parts(tensors):
        if len(part.names) >= _FEWEST and not used.issuperset(part.names.values()):
            body = _body_in(part, architecture)
            if body is not None and used.isdisjoint(body.names.values()):
                found.append(body)
                used.update(body.names.values())
    return found


def _body_in(part: Part, architecture: str | None) -> Body | None:
    """Return the largest network in ``part``, preferably with a matching first convolution, then a complete one."""
    fitting: list[Body] = []
    largest = 0
    for entry in _sketched(part, architecture):
        if entry.count < largest:
            break
        body = _fitted(part, entry, architecture)
        if body is not None:
            fitting.append(body)
            largest = entry.count
    return min(fitting, key=lambda body: (body.stem is not None, not body.is_complete), default=None)


def _sketched(part: Part, architecture: str | None) -> Iterator[Entry]:
    ours = keys(part.tensors)
    for entry in index():
        is_asked = architecture is None or architecture in entry.architectures
        if is_asked and entry.count <= len(part.names) and all(key in ours for key in entry.sketch):
            yield entry


def _fitted(part: Part, entry: Entry, architecture: str | None) -> Body | None:
    names = entry.architectures if architecture is None else (architecture,)
    expected = _trunk_shapes(names[0], entry.trunk)
    stem = None
    weights: dict[str, torch.Tensor] = {}
    for name, shape in expected.items():
        stored = part.tensors.get(name)
        if stored is None:
            if not name.endswith(COUNTER):
                return None
            stored = torch.tensor(0)
        elif tuple(stored.shape) != shape:
            if stem is not None or not _is_stem(shape, stored.shape):
                return None
            stem = Stem(name, tuple(stored.shape), shape)
        weights[name] = stored
    last, num_classes = _last_layer(part, names[0]) if entry.trunk == "layer" else ({}, None)
    weights |= last
    stored_names = {name: part.names[name] for name in weights if name in part.names}
    return Body(part.prefix, names, entry.trunk, weights, stored_names, num_classes, stem)


def _is_stem(expected: Sequence[int], stored: Sequence[int]) -> bool:
    both = len(expected) == len(stored) == _OF_A_CONVOLUTION
    return both and expected[1] == RGB and expected[0] == stored[0] and (expected[2] >= stored[2])


def _last_layer(part: Part, architecture: str) -> tuple[dict[str, torch.Tensor], int | None]:
    """Return the tensors of the architecture's own last layer and its size; None if it is missing."""
    sizes = set()
    found = {}
    for name, shape in _class_shapes(architecture).items():
        stored = part.tensors.get(name)
        if stored is None or stored.ndim != len(shape):
            return {}, None
        sides = list(zip(stored.shape, shape, strict=True))
        if any(size != wanted for size, wanted in sides if wanted != PROBE_CLASSES):
            return {}, None
        sizes |= {size for size, wanted in sides if wanted == PROBE_CLASSES}
        found[name] = stored
    return (found, sizes.pop()) if len(sizes) == 1 else ({}, None)


@lru_cache(maxsize=256)
def _trunk_shapes(architecture: str, trunk: Trunk) -> dict[str, tuple[int, ...]]:
    tensors = build_trunk(architecture, trunk, build_empty).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@lru_cache(maxsize=256)
def _class_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    tensors = build_empty(architecture, PROBE_CLASSES).state_dict()
    return {name: tuple(tensors[name].shape) for name in of_classes(tensors)}

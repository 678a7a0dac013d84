"""An index of the tensors of every network, to find a checkpoint's network without building all 1,400.

``python -m src.checkpoints.fingerprints`` rebuilds the index after an update of torchvision or timm.
"""

import hashlib
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import timm
import torch
from torch import nn
from torchvision import models
from tqdm import tqdm

from src.checkpoints.network import RGB, build
from src.checkpoints.recognition.trunks import TRUNKS, Trunk, trunk_tensors
from src.checkpoints.tensors import COUNTER

__all__ = ["Entry", "build_empty", "entries_of", "every_architecture", "index", "keys", "similar_architectures"]

_INDEX: Final = Path(__file__).with_suffix(".txt")
_SKETCH: Final = 16
_SHORT_SKETCH: Final = 6  # of the rarer trunks
_ALIKE: Final = 0.4  # of all names; below that it is another kind of network
_OF_A_CONVOLUTION: Final = 4  # dimensions


@dataclass(frozen=True, slots=True)
class Entry:
    """The tensors that ``architectures`` share, without the last layer: their ``count`` and a sketch of them.

    A sketch is the smallest of the hashes of all names and shapes.
    """

    trunk: Trunk
    count: int
    sketch: tuple[str, ...]
    architectures: tuple[str, ...]


@cache
def index() -> tuple[Entry, ...]:
    """Return all entries, the largest first, torchvision's before timm's."""
    entries = []
    for line in _INDEX.read_text(encoding="utf-8").splitlines():
        trunk, count, sketch, names = line.split(" ")
        entries.append(Entry(TRUNKS[int(trunk)], int(count), tuple(sketch.split(",")), tuple(names.split(","))))
    return tuple(sorted(entries, key=lambda entry: -entry.count))


def keys(tensors: Mapping[str, torch.Tensor]) -> frozenset[str]:
    """Return the hashes of the names and shapes of ``tensors``, to look up in the index."""
    exact = {_hash(name, tensor.shape) for name, tensor in tensors.items()}
    return frozenset(exact | {_stem(name, tensor.shape) for name, tensor in tensors.items() if _is_convolution(tensor)})


def similar_architectures(tensors: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Return the architectures that share many of these tensors, the most similar first.

    Compares sketches: the overlap of two sketches estimates the overlap of all tensors. Broder, On the resemblance and
    containment of documents, 1997.
    """
    ours = frozenset(_sketch(tensors, _SKETCH))

    def shared(sketch: tuple[str, ...]) -> float:
        smallest = sorted(ours.union(sketch))[:_SKETCH]
        return len(ours.intersection(smallest, sketch)) / max(1, len(smallest))

    alike = [(shared(entry.sketch), entry.architectures) for entry in index() if entry.trunk == "layer"]
    likest = sorted(alike, key=lambda each: -each[0])
    return tuple(name for share, architectures in likest if share >= _ALIKE for name in architectures)


def _sketch(tensors: Mapping[str, torch.Tensor], length: int) -> tuple[str, ...]:
    hashes = (
        (_stem if _is_convolution(tensor) and tensor.shape[1] == RGB else _hash)(name, tensor.shape)
        for name, tensor in tensors.items()
        if not name.endswith(COUNTER)
    )
    return tuple(sorted(hashes)[:length])


def _is_convolution(tensor: torch.Tensor) -> bool:
    return tensor.ndim == _OF_A_CONVOLUTION


def _stem(name: str, shape: torch.Size) -> str:
    """Return the hash of a first convolution, which ignores its input channels and kernel size."""
    return _hash(name, shape[:1])


def _hash(name: str, shape: Iterable[int]) -> str:
    return hashlib.sha256(f"{name} {tuple(shape)}".encode()).hexdigest()[:8]


def every_architecture() -> list[str]:
    """Return all classification networks of torchvision and timm."""
    torchvision = [f"torchvision/{name}" for name in models.list_models(module=models)]
    return torchvision + [f"timm/{name}" for name in timm.list_models()]


def build_empty(architecture: str, num_classes: int) -> nn.Module:
    """Return the network with tensors on the meta device, which have no values, where its library supports it."""
    try:
        with torch.device("meta"):
            return build(architecture, num_classes)
    except NotImplementedError:  # torchvision's regnets initialize by copying
        return build(architecture, num_classes)


def entries_of(architecture: str) -> dict[str, str]:
    """Return the index lines of one architecture, without its name, by a digest that only equal tensors share."""
    lines = {}
    for trunk, tensors in trunk_tensors(architecture, build_empty).items():
        kept = {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.endswith(COUNTER)}
        sketch = _sketch(tensors, _SKETCH if trunk == "layer" else _SHORT_SKETCH)
        digest = hashlib.sha256(repr((trunk, sorted(kept.items()))).encode()).hexdigest()
        lines[digest] = f"{TRUNKS.index(trunk)} {len(kept)} {','.join(sketch)}"
    return lines


def main() -> int:
    """Write the index."""
    warnings.simplefilter("ignore")  # timm's, about deprecated names
    lines: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    for architecture in tqdm(every_architecture(), unit="network"):
        for digest, line in entries_of(architecture).items():
            lines[digest] = line
            names.setdefault(digest, []).append(architecture)
    text = "".join(f"{line} {','.join(names[digest])}\n" for digest, line in lines.items())
    _INDEX.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

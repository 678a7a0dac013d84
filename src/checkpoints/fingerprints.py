"""Which networks have tensors of which names: an index, so that a checkpoint's network is found without building 1,400.

``python -m src.checkpoints.fingerprints`` makes the index anew, after an update of torchvision or timm.
"""

import hashlib
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import timm
import torch
from torch import nn
from torchvision import models
from tqdm import tqdm

from src.checkpoints.network import RGB, build

__all__ = ["architectures_with", "build_empty", "every_architecture", "fingerprint", "similar_architectures"]

_INDEX: Final = Path(__file__).with_suffix(".txt")
_COUNTER: Final = "num_batches_tracked"  # missing in checkpoints of old versions of torch
_SKETCH: Final = 16
_ALIKE: Final = 0.4  # of all names; less is another kind of network


def fingerprint(names: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that stand for a set of tensor names."""
    return hashlib.sha256("\n".join(sorted(_kept(names))).encode()).hexdigest()[:16]


def architectures_with(names: Iterable[str]) -> tuple[str, ...]:
    """Return the architectures that have tensors of just these names: torchvision's first, then timm's, by name."""
    wanted = fingerprint(names)
    return tuple(architecture for found, _, architecture in _index() if found == wanted)


def similar_architectures(names: Iterable[str]) -> tuple[str, ...]:
    """Return the architectures that share many of these names, the most similar first.

    Compared are sketches: of each set of names the smallest hashes, of which two sets share about the part that they
    share of all their names. Broder, On the resemblance and containment of documents, 1997.
    """
    ours = _sketch(names)

    def shared(sketch: frozenset[str]) -> float:
        smallest = sorted(ours | sketch)[:_SKETCH]
        return len(ours.intersection(smallest) & sketch) / max(1, len(smallest))

    alike = [(shared(frozenset(sketch.split(","))), architecture) for _, sketch, architecture in _index()]
    return tuple(architecture for share, architecture in sorted(alike, key=lambda each: -each[0]) if share >= _ALIKE)


def _index() -> list[tuple[str, str, str]]:
    """Return fingerprint, sketch and name of every architecture."""
    lines = _INDEX.read_text(encoding="utf-8").splitlines()
    return [(found, sketch, name) for found, sketch, name in (line.split(" ") for line in lines)]


def _sketch(names: Iterable[str]) -> frozenset[str]:
    return frozenset(sorted(hashlib.sha256(name.encode()).hexdigest()[:8] for name in _kept(names))[:_SKETCH])


def _kept(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(_COUNTER)]


def every_architecture() -> list[str]:
    """Return all classification networks of torchvision and timm."""
    torchvision = [f"torchvision/{name}" for name in models.list_models(module=models)]
    return torchvision + [f"timm/{name}" for name in timm.list_models()]


def build_empty(architecture: str, num_classes: int, channels: int = RGB) -> nn.Module:
    """Return the network with tensors that have shapes but no values, where its library can make such."""
    try:
        with torch.device("meta"):
            return build(architecture, num_classes, channels)
    except NotImplementedError:  # torchvision's regnets initialize by copying
        return build(architecture, num_classes, channels)


def main() -> int:
    """Write the index."""
    warnings.simplefilter("ignore")  # of timm, about names that are old
    lines = []
    for architecture in tqdm(every_architecture(), unit="network"):
        names = build_empty(architecture, 2).state_dict()
        lines.append(f"{fingerprint(names)} {','.join(sorted(_sketch(names)))} {architecture}")
    _INDEX.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

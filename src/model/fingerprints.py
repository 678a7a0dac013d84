"""Which networks have tensors of which names: an index, so that a checkpoint's network is found without building 1,400.

``python -m src.model.fingerprints`` makes the index anew, after an update of torchvision or timm.
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

from src.model.network import build

__all__ = ["architectures_with", "build_empty", "every_architecture", "fingerprint"]

_INDEX: Final = Path(__file__).with_suffix(".txt")
_COUNTER: Final = "num_batches_tracked"  # missing in checkpoints of old versions of torch


def fingerprint(names: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that stand for a set of tensor names."""
    kept = sorted(name for name in names if not name.endswith(_COUNTER))
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16]


def architectures_with(names: Iterable[str]) -> tuple[str, ...]:
    """Return the architectures that have tensors of just these names: torchvision's first, then timm's, by name."""
    wanted = fingerprint(names)
    lines = _INDEX.read_text(encoding="utf-8").splitlines()
    return tuple(line.partition(" ")[2] for line in lines if line.startswith(wanted))


def every_architecture() -> list[str]:
    """Return all classification networks of torchvision and timm."""
    torchvision = [f"torchvision/{name}" for name in models.list_models(module=models)]
    return torchvision + [f"timm/{name}" for name in timm.list_models()]


def build_empty(architecture: str, num_classes: int) -> nn.Module:
    """Return the network with tensors that have shapes but no values, where its library can make such."""
    try:
        with torch.device("meta"):
            return build(architecture, num_classes)
    except NotImplementedError:  # torchvision's regnets initialize by copying
        return build(architecture, num_classes)


def main() -> int:
    """Write the index."""
    warnings.simplefilter("ignore")  # of timm, about names that are old
    lines = [
        f"{fingerprint(build_empty(architecture, 2).state_dict())} {architecture}"
        for architecture in tqdm(every_architecture(), unit="network")
    ]
    _INDEX.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

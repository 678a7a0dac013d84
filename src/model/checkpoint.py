"""What a trained classifier consists of, whatever file it came from."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from src.model.manifest import InputSpec

__all__ = ["Checkpoint"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained network before it is stored: ``weights`` maps tensor names of ``architecture`` to their values."""

    architecture: str
    labels: tuple[str, ...]
    input: InputSpec
    weights: Mapping[str, torch.Tensor]

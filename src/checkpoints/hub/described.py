"""A network described by the files beside its weights."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from src.checkpoints.given import Note

__all__ = ["Described"]


@dataclass(frozen=True, slots=True)
class Described:
    """A ``network`` with its weights, in eval mode, and what the folder says about it, by hyper-parameter name.

    ``left_out`` are the names, as the file has them, of tensors that are not part of the network; ``assumed`` is set if
    the folder does not say how images are prepared.
    """

    architecture: str
    network: nn.Module
    num_classes: int
    said: Mapping[str, object]
    left_out: tuple[str, ...] = ()
    assumed: Note | None = None

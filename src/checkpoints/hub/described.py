"""A network described by the files beside its weights."""

from collections.abc import Mapping
from dataclasses import dataclass

from src.checkpoints.given import Note
from src.checkpoints.network import Loaded

__all__ = ["Described"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described(Loaded):
    """A network, and what the folder says about it, by hyper-parameter name.

    ``assumed`` is set if the folder does not say how images are prepared.
    """

    said: Mapping[str, object]
    assumed: Note | None = None

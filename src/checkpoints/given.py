"""What a person says of a checkpoint, and what the reading of it says to the person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from src.errors import Remedy
from src.stages.output_spec import OutputKind

__all__ = ["Given", "Note"]


@dataclass(frozen=True, slots=True)
class Given:
    """What a person says of a checkpoint; it outweighs what the file says, which outweighs what is published.

    ``input`` holds single fields of the InputSpec, by name; ``tutorial`` means its way to prepare images; ``weights``
    is "ema" for the averaged ones.
    """

    architecture: str | None = None
    labels: str | None = None
    input: Mapping[str, Any] | None = None
    tutorial: bool = False
    layer: str | None = None
    module: str | None = None
    weights: Literal["ema"] | None = None
    channels: int | None = None
    output: OutputKind | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was found out or assumed, and what a person can say where it is not so."""

    sentence: str
    remedies: tuple[Remedy, ...] = ()

"""What a person says of a checkpoint, and what the reading of it says to the person."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from src.errors import Remedy
from src.stages.output_spec import OutputKind

__all__ = ["Activation", "Asked", "Given", "Note"]

Activation = Literal[
    "none", "relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid", "elu", "selu", "mish", "hardswish"
]


@dataclass(frozen=True, slots=True)
class Given:
    """What a person says of a checkpoint; it outweighs what the file says, which outweighs what is published.

    ``network`` is the prefix of the tensors of the network that answers, ``activation`` what lies between the layers of
    its head, ``stem`` "cifar" for a first convolution for small images, ``weights`` "ema" for the averaged ones.
    ``input`` holds single fields of the InputSpec, by name; ``tutorial`` means its way to prepare images;
    ``arguments`` are those of the class ``module`` that the file lacks.
    """

    architecture: str | None = None
    labels: str | None = None
    input: Mapping[str, Any] | None = None
    tutorial: bool = False
    layer: str | None = None
    module: str | None = None
    weights: Literal["ema"] | None = None
    network: str | None = None
    activation: Activation | None = None
    stem: str | None = None
    arguments: Mapping[str, object] | None = None
    channels: int | None = None
    output: OutputKind | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was found out or assumed, and what a person can say where it is not so."""

    sentence: str
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person, or the file, says of the network: see :class:`Given`.

    ``said_by`` tells who named the architecture; ``settled`` are the fields of the input that are known without it.
    """

    architecture: str | None = None
    network: str | None = None
    activation: Activation | None = None
    stem: str | None = None
    hyper_parameters: Mapping[str, object] = field(default_factory=dict)
    said_by: str = "you said"
    settled: Collection[str] = ()

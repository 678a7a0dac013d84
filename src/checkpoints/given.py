"""The user's options for a checkpoint, and the words for what reading it returns to the user."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from src.errors import ModelError, Remedy
from src.stages.output_spec import OutputKind

if TYPE_CHECKING:  # --help does not wait for torch
    from src.checkpoints.reading.stand_ins import StandIn

__all__ = ["Activation", "Asked", "Given", "Note", "needs_own_class", "some_of"]

Activation = Literal[
    "none", "relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid", "elu", "selu", "mish", "hardswish"
]


@dataclass(frozen=True, slots=True)
class Given:
    """The user's options for a checkpoint; they override the file, which overrides what the library published.

    ``network`` is the prefix of the tensors of the network to serve, ``activation`` the one between the layers of its
    head, ``stem`` "cifar" for a first convolution for small images, ``weights`` "ema" for the averaged ones. ``input``
    holds fields of the InputSpec by name; ``tutorial`` selects the tutorial's preprocessing; ``arguments`` are the
    arguments of the class ``module`` that the file lacks.
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
    """Something that was inferred or assumed, and the options to correct it."""

    sentence: str
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user and the file say about the network; the architecture in ``given`` may be from either.

    ``said_by`` says who named the architecture; ``settled`` are the fields of the input that are known without it;
    ``modules`` are those of a network that the file holds as a whole, by name.
    """

    given: Given = field(default_factory=Given)
    hyper_parameters: Mapping[str, object] = field(default_factory=dict)
    said_by: str = "you said"
    settled: Collection[str] = ()
    modules: "Mapping[str, StandIn]" = field(default_factory=dict)


def needs_own_class(fault: str) -> ModelError:
    """Return the error of a network that cannot be built from the file alone, because of ``fault``."""
    return ModelError(f"{fault}: give your own class.", Remedy("module"))


def some_of(names: Sequence[str], most: int = 6, by: str = ", ") -> str:
    """Join the first ``most`` of ``names``, and count the others: 'a, b and 3 more'."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return by.join(names[:most]) + more

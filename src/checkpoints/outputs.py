"""What a network's outputs mean, by the file and the user's options; a single output becomes one per class."""

import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from pydantic import ValidationError
from torch import nn

from src.checkpoints.given import Given
from src.checkpoints.labels import stored_labels
from src.checkpoints.reading.nested import walk
from src.checkpoints.reading.output_signs import sign_of_several, sign_of_values
from src.checkpoints.reading.weights_file import WeightsFile
from src.errors import ModelError, Remedy
from src.stages.output_spec import OutputSpec

__all__ = ["TwoClasses", "check_that_it_classifies", "one_score_per_class", "read_output"]

_CLASSES: Final = re.compile(r"(num|n|nb|number_of|no_of)_?(target_)?(class|classes|labels)")
_EMBEDDING: Final = re.compile(r"(emb|feat|latent|proj)")
_EMBEDS: Final = re.compile(r"(?<![a-z])(proj(ection|ector)?|emb(ed|edding|edder)?|bottleneck|neck)(?![a-z])")
_TWO: Final = 2


def read_output(file: WeightsFile, given: Given, outputs: int) -> tuple[OutputSpec, int]:
    """Return what the ``outputs`` of a network mean, and how many classes it has.

    Raises:
        ModelError: Nothing says whether an output is a probability or a regression value, hyper-parameters say that the
            outputs are none of classes, or the stated kind contradicts their number.
    """
    output = OutputSpec(kind=given.output) if given.output else _stored(file.hyper_parameters)
    if outputs > 1:
        if output is not None and output.kind == "binary":
            raise ModelError(f"The network has {outputs} outputs, but binary means one: omit it, or use multilabel.")
        if output is None and (sign := sign_of_several(file, outputs)):
            raise ModelError(
                f"{sign} suggests that an image may have several classes, or none: choose that, or just one class.",
                Remedy("output", "multilabel"),
                Remedy("output", "softmax"),
            )
        is_named = output is not None or given.labels is not None or _names(file, outputs)
        if not is_named and (sign := sign_of_values(file)):
            raise ModelError(
                f"{sign} suggests that the {outputs} outputs are measured values or an embedding, which are not"
                " supported: if each is the score of a class, name all classes.",
                Remedy("labels"),
            )
        return output or OutputSpec(), outputs
    if output is not None and output.kind != "binary":
        raise ModelError(f"The network has one output, which cannot be {output.kind}.", Remedy("output", "binary"))
    if output is None and given.labels is None and not _names(file, _TWO):
        raise ModelError(
            "The network has one output, and the file does not show if it is a probability (the logit of a sigmoid) or"
            " a regression value, which is not supported: if it is a probability, name its two classes.",
            Remedy("labels", "NEGATIVE,POSITIVE"),
            Remedy("output", "binary"),
        )
    return OutputSpec(kind="binary"), _TWO


def check_that_it_classifies(file: WeightsFile, num_classes: int, last: str = "") -> None:
    """Refuse a network whose hyper-parameters state another number of classes, or call its output an embedding.

    One output may mean two classes. ``last`` is the file's name for the last layer: if it is that of an embedding, the
    file has to name the classes.

    Raises:
        ModelError: A hyper-parameter or the name of the last layer contradicts; the message names it.
    """
    numbers = {key: value for key, value in walk(file.hyper_parameters) if type(value) is int}
    said = {key: value for key, value in numbers.items() if _CLASSES.fullmatch(key.lower())}
    if num_classes in said.values() or num_classes == 1 or 1 in said.values():
        return
    embedding = {key for key, value in numbers.items() if value == num_classes and _EMBEDDING.search(key.lower())}
    if said or embedding:
        key = next(iter(said or embedding))
        doubt = f"The network returns {num_classes} values, but the hyper-parameter {key} is {numbers[key]}: are they"
    elif _EMBEDS.search(last.lower()) and not _names(file, num_classes):
        doubt = f"The last layer is called {last}: are its {num_classes} values"
    else:
        return
    raise ModelError(
        f"{doubt} class scores, or an embedding? Name all classes, or give your own class, which returns class scores:",
        Remedy("labels"),
        Remedy("module"),
    )


def _stored(hyper_parameters: Mapping[str, Any]) -> OutputSpec | None:
    """Return what our own training stored about the outputs; other programs may use ``output`` differently."""
    stored = hyper_parameters.get("output")
    if not isinstance(stored, Mapping):
        return None
    try:
        return OutputSpec.model_validate(dict(stored))
    except ValidationError:
        return None


def _names(file: WeightsFile, count: int) -> bool:
    try:
        _, source = stored_labels(count, file.hyper_parameters, file.elsewhere)
    except ModelError:
        return False
    return not source.startswith("made up")


class TwoClasses(nn.Module):
    """Returns logits -z/2 and z/2, (N, 2), of a ``network``'s output z, (N, 1) or (N): their softmax is its sigmoid.

    The added layer is linear, so a linear head stays linear.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.spread = nn.Linear(1, 2, bias=False)
        self.spread.weight = nn.Parameter(torch.tensor([[-0.5], [0.5]]), requires_grad=False)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, 2) of ``images``."""
        logits: torch.Tensor = self.spread(self.network(images).reshape(-1, 1))
        return logits


def one_score_per_class(network: nn.Module, layer: str | None, output: OutputSpec) -> tuple[nn.Module, str | None]:
    """Return ``network`` with an output for each class, and the name that its ``layer`` then has."""
    if output.kind != "binary":
        return network, layer
    return TwoClasses(network), f"network.{layer}" if layer in dict(network.named_modules()) else layer

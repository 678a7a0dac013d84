"""What the outputs of a network mean, as far as a file and a person say; one output becomes one for each class."""

import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from pydantic import ValidationError
from torch import nn

from src.checkpoints.given import Given
from src.checkpoints.labels import stored_labels
from src.checkpoints.reading.nested import walk
from src.checkpoints.reading.weights_file import WeightsFile
from src.errors import ModelError, Remedy
from src.stages.output_spec import OutputSpec

__all__ = ["TwoClasses", "check_that_it_classifies", "read_output"]

_CLASSES: Final = re.compile(r"(num|n|nb|number_of|no_of)_?(target_)?(class|classes|labels)")
_EMBEDDING: Final = re.compile(r"(emb|feat|latent|proj)")
_TWO: Final = 2
_SEVERAL: Final = re.compile(r"multi[-_ ]?label")


def read_output(file: WeightsFile, given: Given, outputs: int) -> tuple[OutputSpec, int]:
    """Return what the ``outputs`` of a network mean, and how many classes it has.

    Raises:
        ModelError: It has one output, which may be a probability or a measured number, and nobody says which; or what
            is said of the outputs contradicts their number.
    """
    output = OutputSpec(kind=given.output) if given.output else _stored(file.hyper_parameters)
    if outputs > 1:
        if output is not None and output.kind == "binary":
            raise ModelError(
                f"The network has {outputs} outputs, but binary means one: leave it out, or use multilabel."
            )
        if output is None and (sign := _sign_of_several(file, outputs)):
            raise ModelError(
                f"{sign} says that an image may be of several classes, or of none: say so, or that it is of just one.",
                Remedy("output", "multilabel"),
                Remedy("output", "softmax"),
            )
        return output or OutputSpec(), outputs
    if output is not None and output.kind != "binary":
        raise ModelError(f"The network has one output, which cannot be {output.kind}.", Remedy("output", "binary"))
    if output is None and given.labels is None and not _names_two(file):
        raise ModelError(
            "The network has one output, and no file shows whether it is a probability (the logit of a sigmoid) or a"
            " measured number, which is not served: if it is a probability, name its two classes.",
            Remedy("labels", "NEGATIVE,POSITIVE"),
            Remedy("output", "binary"),
        )
    return OutputSpec(kind="binary"), _TWO


def check_that_it_classifies(hyper_parameters: Mapping[str, object], num_classes: int) -> None:
    """Refuse a network whose hyper-parameters say another number of classes, or call what it gives an embedding.

    One output may be two classes.

    Raises:
        ModelError: The message says which hyper-parameter contradicts.
    """
    numbers = {key: value for key, value in walk(hyper_parameters) if type(value) is int}
    said = {key: value for key, value in numbers.items() if _CLASSES.fullmatch(key.lower())}
    if num_classes in said.values() or num_classes == 1 or 1 in said.values():
        return
    embedding = {key for key, value in numbers.items() if value == num_classes and _EMBEDDING.search(key.lower())}
    if said or embedding:
        key = next(iter(said or embedding))
        raise ModelError(
            f"The network gives {num_classes} values, but the hyper-parameter {key} is {numbers[key]}: are they scores"
            " of classes, or an embedding? Name all classes, or give the class that tells them apart:",
            Remedy("labels"),
            Remedy("module"),
        )


def _stored(hyper_parameters: Mapping[str, Any]) -> OutputSpec | None:
    """Return what our own training says of the outputs; others may mean other things by ``output``."""
    stored = hyper_parameters.get("output")
    if not isinstance(stored, Mapping):
        return None
    try:
        return OutputSpec.model_validate(dict(stored))
    except ValidationError:
        return None


def _sign_of_several(file: WeightsFile, outputs: int) -> str | None:
    """Return what in ``file`` is for classes that do not exclude each other: weights of a binary loss, or a word."""
    for name, tensor in file.tensors.items():
        if name.rpartition(".")[2] == "pos_weight" and tensor.numel() == outputs:
            return name
    for name, value in walk(file.hyper_parameters, file.elsewhere):
        if (isinstance(value, str) and _SEVERAL.search(value.lower())) or (
            value is True and _SEVERAL.search(name.lower())
        ):
            return f"{name}={value}"
    return None


def _names_two(file: WeightsFile) -> bool:
    try:
        _, source = stored_labels(_TWO, file.hyper_parameters, file.elsewhere)
    except ModelError:
        return False
    return not source.startswith("made up")


class TwoClasses(nn.Module):
    """Gives the logits -z/2 and z/2, (N, 2), of a ``network`` of z, (N, 1) or (N); their softmax is its sigmoid.

    It is a linear layer behind the network, so that heads that are linear stay so.
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

    def layer(self, name: str) -> str:
        """Return what the layer ``name`` of the network is called now."""
        return f"network.{name}" if name in dict(self.network.named_modules()) else name

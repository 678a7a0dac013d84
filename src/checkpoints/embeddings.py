"""Whether what a network gives are scores of classes, as far as hyper-parameters tell: an embedding looks the same."""

import re
from collections.abc import Mapping
from typing import Final

from src.checkpoints.reading.said import walk
from src.errors import ModelError, Remedy

__all__ = ["check_that_it_classifies"]

_CLASSES: Final = re.compile(r"(num|n|nb|number_of|no_of)_?(target_)?(class|classes|labels)")
_EMBEDDING: Final = re.compile(r"(emb|feat|latent|proj)")


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

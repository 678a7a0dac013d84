"""Choose the network that answers among several in one file, or ask."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch

from src.checkpoints.recognition.bodies import Body
from src.checkpoints.recognition.others import is_averaged_copy, is_of_training
from src.errors import ModelError, Remedy

__all__ = ["choose_body"]


def choose_body(bodies: Sequence[Body], tensors: Mapping[str, torch.Tensor], place: str | None) -> Body:
    """Return the network of ``bodies`` that answers: the one at ``place``, or the only one that is no copy.

    A copy shares memory with another network, averages it over training, or belongs to a loss.

    Raises:
        ModelError: There are several, or none at ``place``.
    """
    if place is not None:
        return _at(bodies, place)
    left = sorted(bodies, key=lambda body: not body.is_complete)
    for one, other in combinations(tuple(left), 2):
        if one in left and other in left and _is_same(other, one):
            left.remove(other)
    of_others = [body for body in left if not _is_average(body, tensors) and not _serves_a_loss(body)]
    left = of_others or left
    if len(left) > 1:
        raise ModelError(
            f"The file holds {len(left)} networks: {', '.join(body.described for body in left)}."
            " Choose the one that answers, or give your own class if they answer together:",
            *(Remedy("network", body.place) for body in left),
            Remedy("module"),
        )
    return left[0]


def _at(bodies: Sequence[Body], place: str) -> Body:
    prefix = "" if place == "." else place.rstrip(".")
    here = [body for body in bodies if body.prefix == prefix] or [
        body for body in bodies if body.prefix.startswith(f"{prefix}.")
    ]
    if len(here) == 1:
        return here[0]
    found = ", ".join(body.described for body in here or bodies)
    count = f"are {len(here)} networks" if here else "is no network"
    raise ModelError(f"At {place} there {count}: the file has {found}.", *(Remedy("network", b.place) for b in bodies))


def _is_same(body: Body, other: Body) -> bool:
    theirs = {(tensor.data_ptr(), tensor.shape) for tensor in other.weights.values()}
    own = [body.weights[name] for name in body.names]
    return all((tensor.data_ptr(), tensor.shape) in theirs for tensor in own)


def _is_average(body: Body, tensors: Mapping[str, torch.Tensor]) -> bool:
    return all(is_averaged_copy(name, body.weights[own], tensors) for own, name in body.names.items())


def _serves_a_loss(body: Body) -> bool:
    return all(is_of_training(name, body.weights[own], body) for own, name in body.names.items())

"""Find the head behind a network of a library or its trunk, if there is one, or ask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from src.checkpoints.given import Given, Note, needs_own_class, some_of
from src.checkpoints.recognition.assembly import Features, measure
from src.checkpoints.recognition.bodies import Body
from src.checkpoints.recognition.heads import Head, read_head
from src.checkpoints.recognition.layers import layers_of
from src.checkpoints.recognition.others import Others
from src.errors import ModelError, Remedy

__all__ = ["Behind", "find_behind"]


@dataclass(frozen=True, slots=True)
class Behind:
    """What follows a body: a head, unless it is the body's own, and the features that the body passes to it."""

    head: Head | None = None
    features: Features | None = None
    notes: tuple[Note, ...] = ()

    @property
    def names(self) -> set[str]:
        """The file's names of the head's tensors."""
        layers = self.head.layers if self.head else ()
        return {f"{layer.name}.{kind}" if layer.name else kind for layer in layers for kind in layer.tensors}


def find_behind(body: Body, bodies: Sequence[Body], others: Others, given: Given) -> Behind:
    """Return what lies behind ``body``, one of ``bodies``, among the ``others`` tensors of the file.

    Raises:
        ModelError: The file does not show it; the message says which option answers.
    """
    return _behind_complete(body, others, given) if body.is_complete else _behind_trunk(body, bodies, others, given)


def _behind_complete(body: Body, others: Others, given: Given) -> Behind:
    layers = layers_of(others.open)
    if layers and any(layer.inputs == body.num_classes for layer in layers):
        taken = f"the {body.num_classes} values of {body.described}"
        head = read_head(layers, body.num_classes or 0, taken, given.activation, of_logits=True)
        return Behind(head, None, (Note(f"read as: {body.described}, then {_listed(head)}"),))
    if given.activation is not None:
        raise ModelError(f"No activation can follow {body.described}: omit the option.")
    inside = {name: tensor for name, tensor in others.open.items() if body.surrounds(name)}
    if inside:
        raise needs_own_class(f"{_some(inside)} lies inside {body.described} but is not part of it")
    if others.open and given.network is None:
        raise ModelError(
            f"{_some(others.open)} could be part of the way from image to answer beside {body.described}. Say that"
            " this network alone answers, or give your own class.",
            Remedy("network", body.place),
            Remedy("module"),
        )
    return Behind()


def _behind_trunk(body: Body, bodies: Sequence[Body], others: Others, given: Given) -> Behind:
    rest = _of_the_head(bodies, others, given)
    if not rest:
        raise needs_own_class(f"The file has {body.described}, but no classification layer")
    layers = layers_of(rest)
    if layers is None:
        raise needs_own_class(
            f"Behind {body.described} the file has {_some(rest)}, but does not show how they are connected"
        )
    features = measure(body)
    is_flat = features.flat != features.width and any(layer.inputs == features.flat for layer in layers)
    if not is_flat and not features.pools:
        raise needs_own_class(
            f"The file has {body.described} up to its last map, but does not show how your class continues"
        )
    width = features.flat if is_flat else features.width
    head = read_head(layers, width, f"the features of {body.described}", given.activation, of_logits=False)
    pooled = "flattened" if is_flat else "pooled"
    sentence = (
        f"read as: {pooled} features of {body.described}, then {_listed(head)}; if your forward pools differently"
        " from the library, or has a norm or an activation in between, give your own class"
    )
    return Behind(head, features, (Note(sentence, (Remedy("module"),)),))


def _of_the_head(bodies: Sequence[Body], others: Others, given: Given) -> Mapping[str, torch.Tensor]:
    """Return the tensors that may be the head: inside the network that the user chose, or else outside all networks."""
    if given.network is None:
        return others.open
    beneath = {name: tensor for name, tensor in others.open.items() if name.startswith(f"{given.network}.")}
    in_networks = {name for each in bodies for name in each.names.values()}
    return beneath or {name: tensor for name, tensor in others.open.items() if name not in in_networks}


def _listed(head: Head) -> str:
    steps = []
    for layer, activation in zip(head.layers, head.activations, strict=True):
        steps += [*([] if activation == "none" else [activation]), layer.described]
    return ", ".join(steps)


def _some(tensors: Mapping[str, torch.Tensor]) -> str:
    return some_of([f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items()])

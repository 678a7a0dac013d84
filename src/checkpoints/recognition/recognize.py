"""The tensors of a file, and what was said of them -> a network with its weights, or a question."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import torch
from torch import nn

from src.checkpoints.given import Note
from src.checkpoints.recognition.assembly import Features, assemble, measure
from src.checkpoints.recognition.bodies import Body, find_bodies
from src.checkpoints.recognition.choice import choose_body
from src.checkpoints.recognition.heads import Head, layers_of, read_head
from src.checkpoints.recognition.others import Others, sort_others
from src.checkpoints.recognition.stems import check_stem
from src.checkpoints.recognition.twins import Choice, choose
from src.errors import ModelError, Remedy

__all__ = ["Asked", "Recognized", "recognize"]

_MODULE: Final = Remedy("module")
_SHOWN: Final = 6
_SHORTCUT: Final = ".shortcut."  # as many ResNets for CIFAR call it
_DOWNSAMPLE: Final = ".downsample."
_POOLING: Final = frozenset({"global_pool", "pool", "pooling", "pool_type", "global_pooling", "pooling_type"})
_USUAL_POOLING: Final = frozenset({"", "avg", "average", "mean", "adaptive", "fast", "fastavg", "none", "token", "cls"})
# Made with published weights, they normalize once more, with 0.5.
_NORMALIZING: Final = ("torchvision/googlenet", "torchvision/inception_v3")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person, or the file, says of the network: see :class:`src.checkpoints.given.Given`.

    ``said_by`` tells who named the architecture; ``settled`` are the fields of the input that are known without it.
    """

    architecture: str | None = None
    network: str | None = None
    activation: str | None = None
    stem: str | None = None
    hyper_parameters: Mapping[str, object] = field(default_factory=dict)
    said_by: str = "you said"
    settled: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Recognized:
    """A network with the weights of a file, in eval mode.

    ``left_out`` are the names of tensors that are not part of it; ``normalization`` has the mean and std of buffers in
    front of it, by the names that the input has for them.
    """

    architecture: str
    num_classes: int
    network: nn.Module
    left_out: tuple[str, ...]
    notes: tuple[Note, ...]
    normalization: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class _Behind:
    """What lies behind a body: a head, if it is not the body's own, and what the body gives to it."""

    head: Head | None = None
    features: Features | None = None
    notes: tuple[Note, ...] = ()

    @property
    def names(self) -> set[str]:
        """The names that the file has for the head's tensors."""
        layers = self.head.layers if self.head else ()
        return {f"{layer.name}.{kind}" if layer.name else kind for layer in layers for kind in layer.tensors}


def recognize(tensors: Mapping[str, torch.Tensor], asked: Asked | None = None) -> Recognized | None:
    """Return the network of torchvision or timm that ``tensors`` make up; None if they make up none.

    Raises:
        ModelError: They make up one, but how it answers is not certain; the message says what to say.
    """
    asked = asked or Asked()
    bodies = find_bodies(tensors, asked.architecture)
    if not bodies:
        respelled = {name.replace(_SHORTCUT, _DOWNSAMPLE): tensor for name, tensor in tensors.items()}
        return recognize(respelled, asked) if respelled.keys() != tensors.keys() else None
    _check_pooling(asked.hyper_parameters)
    body = choose_body(bodies, tensors, asked.network)
    others = sort_others(tensors, body)
    check_stem(body.stem, asked.stem, body.architectures[0])
    behind = _behind_complete(body, others, asked) if body.is_complete else _behind_trunk(body, bodies, others, asked)

    @cache
    def made(architecture: str) -> nn.Module:
        return assemble(body, architecture, behind.head, behind.features)

    settled = {*asked.settled, *others.normalization}
    choice = choose(_able(body, others), asked.hyper_parameters, settled, made)
    left_out = [*others.left_out, *(name for name in others.open if name not in behind.names)]
    return Recognized(
        choice.architecture,
        behind.head.num_classes if behind.head else body.num_classes or 0,
        made(choice.architecture),
        tuple(name for name in tensors if name in left_out),
        (_note(choice, asked), *_of_pretrained(choice.architecture, settled), *behind.notes),
        others.normalization,
    )


def _check_pooling(hyper_parameters: Mapping[str, object]) -> None:
    """Refuse a pooling that a hyper-parameter names and no tensor shows."""
    for key in _POOLING & hyper_parameters.keys():
        value = hyper_parameters[key]
        if isinstance(value, str) and value.lower() not in _USUAL_POOLING:
            raise ModelError(
                f"The hyper-parameter {key} says {value!r}, which is not how the library's network pools: give your own"
                " class.",
                _MODULE,
            )


def _able(body: Body, others: Others) -> tuple[str, ...]:
    """Return the architectures of ``body``: torchvision's where the file has auxiliary heads, which only these have."""
    of_torchvision = tuple(name for name in body.architectures if name in _NORMALIZING)
    return of_torchvision if of_torchvision and others.has_auxiliary_heads else body.architectures


def _of_pretrained(architecture: str, settled: Collection[str]) -> tuple[Note, ...]:
    if architecture not in _NORMALIZING or {"mean", "std"} <= set(settled):
        return ()
    sentence = (
        f"{architecture} normalizes images once more where it was made with published weights (transform_input), which"
        " no file shows: it is read as made without; with them the mean and the std are 0.5"
    )
    half = "0.5,0.5,0.5"
    return (Note(sentence, (Remedy("mean", half), Remedy("std", half))),)


def _behind_complete(body: Body, others: Others, asked: Asked) -> _Behind:
    layers = layers_of(others.open)
    if layers and any(layer.inputs == body.num_classes for layer in layers):
        taken = f"the {body.num_classes} values of {body.place} ({body.architectures[0]})"
        head = read_head(layers, body.num_classes or 0, taken, asked.activation, of_logits=True)
        return _Behind(head, None, (Note(f"read as: {_said(body)}, then {_listed(head)}"),))
    if asked.activation is not None:
        raise ModelError(f"Behind {_said(body)} there is no place for an activation: leave it out.")
    if others.open and asked.network is None:
        raise ModelError(
            f"{_some(others.open)} could be part of the way from image to answer beside {_said(body)}. Say that"
            " this network alone answers, or give your own class:",
            Remedy("network", body.place),
            _MODULE,
        )
    return _Behind()


def _behind_trunk(body: Body, bodies: Sequence[Body], others: Others, asked: Asked) -> _Behind:
    rest = _of_the_head(bodies, others, asked)
    if not rest:
        raise ModelError(
            f"The file has {_said(body)}, but no layer that tells classes apart: give the class that does.", _MODULE
        )
    layers = layers_of(rest)
    if layers is None:
        raise ModelError(
            f"Behind {_said(body)} the file has {_some(rest)}, and does not show how they belong together: give your"
            " own class.",
            _MODULE,
        )
    features = measure(body)
    is_flat = features.flat != features.width and any(layer.inputs == features.flat for layer in layers)
    if not is_flat and not features.pools:
        raise ModelError(
            f"The file has {_said(body)} up to its last map, and no file shows how your class goes on from there: give it.",
            _MODULE,
        )
    width = features.flat if is_flat else features.width
    head = read_head(layers, width, f"the features of {_said(body)}", asked.activation, of_logits=False)
    pooled = "flattened" if is_flat else "pooled"
    sentence = (
        f"read as: {pooled} features of {_said(body)}, then {_listed(head)}; if your forward normalizes or activates"
        " between, give your own class"
    )
    return _Behind(head, features, (Note(sentence, (_MODULE,)),))


def _of_the_head(bodies: Sequence[Body], others: Others, asked: Asked) -> Mapping[str, torch.Tensor]:
    """Return what may be the head: where a person chose the network, what lies beneath it, or beside all networks."""
    if asked.network is None:
        return others.open
    beneath = {name: tensor for name, tensor in others.open.items() if name.startswith(f"{asked.network}.")}
    in_networks = {name for each in bodies for name in each.names.values()}
    return beneath or {name: tensor for name, tensor in others.open.items() if name not in in_networks}


def _listed(head: Head) -> str:
    steps = []
    for layer, activation in zip(head.layers, head.activations, strict=True):
        steps += [*([] if activation == "none" else [activation]), layer.described]
    return ", ".join(steps)


def _said(body: Body) -> str:
    return f"{body.place} ({body.architectures[0]}{'' if body.is_complete else ' without its last layer'})"


def _some(tensors: Mapping[str, torch.Tensor]) -> str:
    shown = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:_SHOWN])
    more = f" and {len(tensors) - _SHOWN} more" if len(tensors) > _SHOWN else ""
    return f"{shown}{more}"


def _note(choice: Choice, asked: Asked) -> Note:
    if asked.architecture:
        return Note(f"architecture: {choice.architecture}, as {asked.said_by}")
    sentence = f"architecture: {choice.architecture}, {choice.why}"
    if not choice.others:
        return Note(sentence)
    more = f" and {len(choice.others) - _SHOWN} more" if len(choice.others) > _SHOWN else ""
    return Note(f"{sentence}; {', '.join(choice.others[:_SHOWN])}{more} would fit as well", (Remedy("architecture"),))

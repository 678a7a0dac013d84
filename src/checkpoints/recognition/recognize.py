"""The tensors of a file and the user's options -> a network with its weights, or a question."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import nn

from src.checkpoints.given import Asked, Note, needs_own_class, some_of
from src.checkpoints.inputs.published import NORMALIZING
from src.checkpoints.network import RGB, Loaded
from src.checkpoints.pickled_network import check_modules
from src.checkpoints.reading.nested import walk
from src.checkpoints.recognition.assembly import assemble
from src.checkpoints.recognition.behind import find_behind
from src.checkpoints.recognition.bodies import Body, find_bodies
from src.checkpoints.recognition.body_choice import choose_body
from src.checkpoints.recognition.others import Others, is_of_training, sort_others
from src.checkpoints.recognition.stems import check_stem
from src.checkpoints.recognition.twins import Choice, choose
from src.errors import ModelError, Remedy

__all__ = ["Recognized", "recognize"]

_SHORTCUT: Final = ".shortcut."  # the name in many ResNets for CIFAR
_DOWNSAMPLE: Final = ".downsample."
_POOLING: Final = frozenset({"gp", "global_pool", "pool", "pooling", "pool_type", "global_pooling", "pooling_type"})
_USUAL_POOLING: Final = frozenset({"", "avg", "average", "mean", "adaptive", "fast", "fastavg", "none", "token", "cls"})
_USUAL_STRIDE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognized(Loaded):
    """A network of a library; ``normalization`` holds the mean and std from buffers, as fields of the InputSpec."""

    channels: int
    normalization: Mapping[str, tuple[float, ...]]


def recognize(tensors: Mapping[str, torch.Tensor], asked: Asked) -> Recognized | None:
    """Return the network of torchvision or timm that ``tensors`` make up; None if they make up none.

    Raises:
        ModelError: They make up one, but its forward pass is ambiguous; the message says which option decides.
    """
    given = asked.given
    bodies = find_bodies(tensors, given.architecture)
    if not bodies:
        respelled = {name.replace(_SHORTCUT, _DOWNSAMPLE): tensor for name, tensor in tensors.items()}
        return recognize(respelled, asked) if respelled.keys() != tensors.keys() else None
    _check_settings(asked.hyper_parameters)
    body = choose_body(bodies, tensors, given.network)
    others = sort_others(tensors, body)
    check_stem(body.stem, given.stem, body.architectures[0])
    behind = find_behind(body, bodies, others, given)

    @cache
    def made(architecture: str) -> nn.Module:
        return assemble(body, architecture, behind.head, behind.features)

    # Published statistics are for color images: for gray ones, mean and std are asked for anyway.
    settled = {*asked.settled, *others.normalization, *(() if body.channels == RGB else ("mean", "std"))}
    choice = choose(_able(body, others), asked.hyper_parameters, settled, made, body.channels)
    left_out = [*others.left_out, *(name for name in others.open if name not in behind.names)]
    num_classes = behind.head.num_classes if behind.head else body.num_classes or 0
    library = made(choice.architecture)
    check_modules(asked.modules, body.prefix, library.get_submodule("network") if behind.head else library)
    if given.network is None:
        of_losses = {name: tensors[name] for name in left_out if is_of_training(name, tensors[name], body)}
        _check_last(of_losses, library, num_classes, body.place)
    return Recognized(
        choice.architecture,
        library,
        num_classes,
        tuple(name for name in tensors if name in left_out),
        (_note(choice, asked), *_of_pretrained(choice.architecture, settled), *behind.notes),
        behind.head.layers[-1].name if behind.head else "",
        channels=body.channels,
        normalization=others.normalization,
    )


def _check_last(of_losses: Mapping[str, torch.Tensor], network: nn.Module, outputs: int, place: str) -> None:
    """Refuse if a matrix of a loss may map the outputs to class scores, as in a margin loss.

    Class centers in feature space, and square matrices over the outputs, really belong to a loss.
    """
    shapes = {tuple(tensor.shape) for tensor in network.state_dict().values()}
    of_a_loss = {(outputs, outputs), *(shape for shape in shapes if shape[:1] == (outputs,))}
    for name, tensor in of_losses.items():
        shape = tuple(tensor.shape)
        is_matrix = tensor.is_floating_point() and len(shape) in {2, 3} and outputs > 1 and outputs in shape[-2:]
        if is_matrix and shape[-2:] not in of_a_loss:
            raise ModelError(
                f"{name} {shape} could take the {outputs} outputs of the network, which would then be an embedding,"
                " not class scores. Say that the network alone answers, or give your own class.",
                Remedy("network", place),
                Remedy("module"),
            )


def _check_settings(hyper_parameters: Mapping[str, object]) -> None:
    """Refuse a pooling or a stride that a hyper-parameter names, since no tensor shows it."""
    for key, value in walk(hyper_parameters):
        if key in _POOLING and isinstance(value, str) and value.lower() not in _USUAL_POOLING:
            raise needs_own_class(
                f"The hyper-parameter {key} says {value!r}, which is not how the library's network pools"
            )
        if key == "output_stride" and type(value) is int and value != _USUAL_STRIDE:
            raise needs_own_class(
                f"The hyper-parameter output_stride says {value}, but the library's network has {_USUAL_STRIDE}"
            )


def _able(body: Body, others: Others) -> tuple[str, ...]:
    """Return the architectures of ``body``: only torchvision's if the file has auxiliary heads, which timm's lack."""
    of_torchvision = tuple(name for name in body.architectures if name in NORMALIZING)
    return of_torchvision if of_torchvision and others.has_auxiliary_heads else body.architectures


def _of_pretrained(architecture: str, settled: Collection[str]) -> tuple[Note, ...]:
    if architecture not in NORMALIZING or {"mean", "std"} <= set(settled):
        return ()
    sentence = (
        f"{architecture} normalizes images again if created with published weights (transform_input), which the file"
        " does not show: read as created without; if with, mean and std are 0.5"
    )
    half = "0.5,0.5,0.5"
    return (Note(sentence, (Remedy("mean", half), Remedy("std", half))),)


def _note(choice: Choice, asked: Asked) -> Note:
    if asked.given.architecture:
        return Note(f"architecture: {choice.architecture}, as {asked.said_by}")
    sentence = f"architecture: {choice.architecture}, {choice.why}"
    if not choice.others:
        return Note(sentence)
    return Note(f"{sentence}; {some_of(choice.others)} would fit as well", (Remedy("architecture"),))

"""Architectures that the same tensors fit: which one is meant, or what to ask."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from src.checkpoints.inputs import published_input
from src.checkpoints.network import RGB
from src.checkpoints.recognition.assembly import random_image
from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec

__all__ = ["Choice", "choose"]

_NAMES: Final = ("architecture", "arch", "model_name", "model", "backbone", "network", "net", "encoder", "name")
_COLORS: Final = ("mean", "std", "crop")  # in which the preparation of twins matters most
_VARIANTS: Final = re.compile(r"blur_?|_?aa(?=_|\d|$)|_pruned|_blur|_aa")
_TOLERANCE: Final = 1e-3  # of the largest logit


@dataclass(frozen=True, slots=True)
class Choice:
    """The architecture that is meant, why, and ``others`` that the same tensors would fit."""

    architecture: str
    why: str
    others: tuple[str, ...]


def choose(
    architectures: Sequence[str],
    hyper_parameters: Mapping[str, object],
    settled: Collection[str],
    assemble: Callable[[str], nn.Module],
    channels: int = RGB,
) -> Choice:
    """Choose among ``architectures``, by a name in the file or because they are all the same.

    Args:
        architectures: The likeliest first.
        hyper_parameters: Of the file.
        settled: The fields of the input that are known otherwise.
        assemble: Gives the network of one of them, with its weights.
        channels: Of its images.

    Raises:
        ModelError: They prepare images differently, or answer differently.
    """
    first, *rest = architectures
    if not rest:
        return Choice(first, "recognized by its tensors", ())
    named = _named(architectures, hyper_parameters)
    if named:
        return Choice(named, "recognized by its tensors and named in the file", ())
    likely = [first, *(other for other in rest if not _is_variant(other, architectures))]
    _check_alike(likely, settled)
    _check_equal(likely, assemble, channels)
    return Choice(first, "recognized by its tensors", tuple(rest))


def _is_variant(architecture: str, architectures: Sequence[str]) -> bool:
    """Return whether it is a rare variant of another, such as an anti-aliased one, which must be named to be meant."""
    library, _, name = architecture.partition("/")
    plain = _VARIANTS.sub("", name)
    return plain != name and {f"{library}/{plain}", f"torchvision/{plain}"} & set(architectures) != set()


def _check_alike(architectures: Sequence[str], settled: Collection[str]) -> None:
    specs = {architecture: published_input(architecture) for architecture in architectures}
    open_fields = [field for field in _COLORS if field not in settled]
    kinds = {tuple(getattr(spec, field) for field in open_fields) for spec in specs.values()}
    if len(kinds) > 1:
        differing = [field for field in open_fields if len({getattr(spec, field) for spec in specs.values()}) > 1]
        shown = "; ".join(f"{name}: {_described(spec)}" for name, spec in specs.items())
        raise ModelError(
            f"The tensors fit several networks that prepare images differently: {shown}. Say which it is, or how your"
            " images were prepared:",
            *(Remedy("architecture", name) for name in architectures),
            *(Remedy(field) for field in differing),
        )


def _described(spec: InputSpec) -> str:
    height, width = spec.crop
    mean, std = (",".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    return f"resize {spec.resize}, crop {height}x{width}, mean {mean}, std {std}"


def _check_equal(architectures: Sequence[str], assemble: Callable[[str], nn.Module], channels: int) -> None:
    if len(architectures) == 1:
        return
    image = random_image(architectures[0], channels)
    networks = [assemble(architecture) for architecture in architectures]
    with torch.inference_mode():
        answers = [network(image) for network in networks]
    scale = float(answers[0].abs().max())
    if any(float((answer - answers[0]).abs().max()) > _TOLERANCE * max(scale, 1e-3) for answer in answers[1:]):
        raise ModelError(
            f"The tensors fit several networks that compute differently: {', '.join(architectures)}."
            " No file shows which it is: say so:",
            *(Remedy("architecture", name) for name in architectures),
        )


def _named(architectures: Sequence[str], hyper_parameters: Mapping[str, object]) -> str | None:
    """Return the first of ``architectures`` that a hyper-parameter names: some differ in their padding alone."""
    for key in _NAMES:
        for candidate in architectures:
            if _is_called(candidate, hyper_parameters.get(key)):
                return candidate
    return None


def _is_called(architecture: str, name: object) -> bool:
    if not isinstance(name, str):
        return False
    library, _, short = architecture.partition("/")
    plain = name.strip().lower().removeprefix("hf_hub:").removeprefix("hf-hub:")
    if library == "timm":  # which puts a tag of the weights behind
        plain = plain.partition(".")[0]
    return plain in {architecture, short}

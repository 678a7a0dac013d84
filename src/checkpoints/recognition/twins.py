"""Choose among architectures with the same tensors, or ask."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn
from torchvision import models

from src.checkpoints.inputs.published import current_name, published_input, with_tag
from src.checkpoints.network import RGB
from src.checkpoints.reading.nested import walk
from src.checkpoints.reading.stand_ins import Kind, StandIn, fields
from src.checkpoints.recognition.assembly import random_image
from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec

__all__ = ["Choice", "choose", "named_weights"]

_NAMES: Final = ("architecture", "arch", "model_name", "model", "backbone", "network", "net", "encoder", "name")
_NAMING: Final = re.compile(
    r"(?<![a-z])(arch|architecture|model|backbone|encoder|net|network|timm|variant|name)(?![a-z])"
)
_TEACHER: Final = "teacher"
_COLORS: Final = ("mean", "std", "crop")  # the fields whose differences matter most
_VARIANTS: Final = re.compile(r"blur_?|_?aa(?=_|\d|$)|_pruned|_blur|_aa")
_WEIGHTS: Final = re.compile(r"(?<![a-z])(weights?|pretrained)(?![a-z])")
_TOLERANCE: Final = 1e-3  # of the largest logit


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen architecture, the reason, and the ``others`` that the same tensors fit."""

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
    """Choose among ``architectures``, by a name in the file or because all are equivalent.

    Args:
        architectures: The likeliest first.
        hyper_parameters: Of the file.
        settled: The fields of the input that are already known.
        assemble: Returns the network of an architecture, with its weights.
        channels: Number of channels of its images.

    Raises:
        ModelError: They prepare images differently or compute different answers.
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
    """Return whether it is a rare variant, such as an anti-aliased one, which is considered only if it is named."""
    library, _, name = architecture.partition("/")
    plain = _VARIANTS.sub("", name)
    return plain != name and {f"{library}/{plain}", f"torchvision/{plain}"} & set(architectures) != set()


def _check_alike(architectures: Sequence[str], settled: Collection[str]) -> None:
    specs = {architecture: published_input(architecture) for architecture in architectures}
    open_fields = [field for field in _COLORS if field not in settled]
    differing = [field for field in open_fields if len({getattr(spec, field) for spec in specs.values()}) > 1]
    if differing:
        shown = "; ".join(f"{name}: {_described(spec)}" for name, spec in specs.items())
        raise ModelError(
            f"The tensors fit several networks that prepare images differently: {shown}. Choose one, or say how your"
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
            " The file does not show which one it is: choose one:",
            *(Remedy("architecture", name) for name in architectures),
        )


def _named(architectures: Sequence[str], hyper_parameters: Mapping[str, object]) -> str | None:
    """Return the first of ``architectures`` that a hyper-parameter names; some differ only in padding.

    Hyper-parameters at depth, or with less usual names, count only if they all name the same one.
    """
    for key in _NAMES:
        for candidate in architectures:
            if _is_called(candidate, hyper_parameters.get(key)):
                return candidate
    values = _at_depth(hyper_parameters)
    named = {next((one for one in architectures if _is_called(one, value)), None) for value in values} - {None}
    return named.pop() if len(named) == 1 else None


def _at_depth(hyper_parameters: Mapping[str, object]) -> list[object]:
    """Return the values of all hyper-parameters that may name a network, except a teacher."""
    own = {key: value for key, value in hyper_parameters.items() if _TEACHER not in key.lower()}
    return [value for key, value in walk(own) if _NAMING.search(key.lower()) and _TEACHER not in key.lower()]


def named_weights(architecture: str, hyper_parameters: Mapping[str, object]) -> str:
    """Return ``architecture``, with the tag of published weights if a hyper-parameter has it, as in vit_base.dino."""
    names = [*(hyper_parameters.get(key) for key in _NAMES), *_at_depth(hyper_parameters)]
    called = (current_name(name) for name in names if isinstance(name, str) and _is_called(architecture, name))
    tags = [name.partition(".")[2] for name in called]
    library, _, short = architecture.partition("/")
    if library == "torchvision":
        tags += [_tag_of_torchvision(short, name, value) for name, value in walk(hyper_parameters)]
    return with_tag(architecture, next(filter(None, tags), ""))


def _tag_of_torchvision(architecture: str, name: str, value: object) -> str:
    """Return the name of the weights of ``architecture`` that a hyper-parameter has, as text or as a pickled enum."""
    published = models.get_model_weights(architecture)
    if isinstance(value, StandIn) and value.called.endswith(f".{published.__name__}"):
        address = fields(value.args[0]).get("url") if value.args else None
        return next((one.name for one in published if one.value.url == address), "")
    called = value.called if isinstance(value, Kind) else value
    if not isinstance(called, str):
        return ""
    owner, _, member = called.strip().rpartition(".")
    found = published.__members__.get(member.upper())
    is_its_own = owner.rpartition(".")[2] == published.__name__
    is_meant = not owner and _WEIGHTS.search(name.lower()) is not None and _TEACHER not in name.lower()
    return found.name if found and (is_its_own or is_meant) else ""


def _is_called(architecture: str, name: object) -> bool:
    if not isinstance(name, str):
        return False
    library, _, short = architecture.partition("/")
    plain, _, tag = current_name(name).partition(".")
    is_its_own = library == "timm" or not tag or with_tag(architecture, tag) != architecture
    return plain in {architecture, short} and is_its_own

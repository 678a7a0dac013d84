"""Choose among architectures with the same tensors, or ask."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from timm.models import get_deprecated_models
from torch import nn

from src.checkpoints.inputs import published_input, with_tag
from src.checkpoints.network import RGB
from src.checkpoints.recognition.assembly import random_image
from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec

__all__ = ["Choice", "choose", "named_weights"]

_NAMES: Final = ("architecture", "arch", "model_name", "model", "backbone", "network", "net", "encoder", "name")
_COLORS: Final = ("mean", "std", "crop")  # the fields whose differences matter most
_VARIANTS: Final = re.compile(r"blur_?|_?aa(?=_|\d|$)|_pruned|_blur|_aa")
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
    kinds = {tuple(getattr(spec, field) for field in open_fields) for spec in specs.values()}
    if len(kinds) > 1:
        differing = [field for field in open_fields if len({getattr(spec, field) for spec in specs.values()}) > 1]
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
    """Return the first of ``architectures`` that a hyper-parameter names; some differ only in padding."""
    for key in _NAMES:
        for candidate in architectures:
            if _is_called(candidate, hyper_parameters.get(key)):
                return candidate
    return None


def named_weights(architecture: str, hyper_parameters: Mapping[str, object]) -> str:
    """Return ``architecture``, with the tag of timm's weights if a hyper-parameter names it, as in vit_base.dino."""
    names = (hyper_parameters.get(key) for key in _NAMES)
    tags = (
        _current(name).partition(".")[2] for name in names if isinstance(name, str) and _is_called(architecture, name)
    )
    return with_tag(architecture, next(tags, ""))


def _is_called(architecture: str, name: object) -> bool:
    if not isinstance(name, str):
        return False
    library, _, short = architecture.partition("/")
    plain = _current(name).partition(".")[0] if library == "timm" else _plain(name)
    return plain in {architecture, short}


def _plain(name: str) -> str:
    return name.strip().lower().removeprefix("hf_hub:").removeprefix("hf-hub:")


def _current(name: str) -> str:
    """Return what timm calls a network today, and its weights: vit_base_patch16_224.dino once had a name of its own."""
    library, slash, short = _plain(name).rpartition("/")
    return f"{library}{slash}{_renamed().get(short) or short}"


@cache
def _renamed() -> Mapping[str, str | None]:
    renamed: Mapping[str, str | None] = get_deprecated_models()
    return renamed

"""The preprocessing that a network was trained with: as its library published it, or the tutorial's."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, get_args

import timm
from timm.models import get_deprecated_models
from torchvision import models
from torchvision.transforms import InterpolationMode

from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec, Interpolation

__all__ = [
    "NORMALIZING",
    "TUTORIAL",
    "USUAL",
    "USUAL_OF_GRAY",
    "current_name",
    "for_channels",
    "per_channel",
    "published_input",
    "timm_input",
    "with_tag",
]

_IMAGENET: Final[dict[str, Any]] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
USUAL_OF_GRAY: Final = 0.5  # mean and deviation: [0, 1] becomes [-1, 1]
_PER_CHANNEL: Final = ("mean", "std")
# timm's defaults for fields that a configuration lacks.
_TIMMS: Final[dict[str, Any]] = {
    "input_size": (3, 224, 224),
    "crop_pct": 0.875,
    "crop_mode": "center",
    "interpolation": "bicubic",
    **_IMAGENET,
}
_CROP_MODES: Final = ("center", "squash")
# Their published weights expect a mean and deviation of 0.5: torchvision converts images to that (transform_input).
NORMALIZING: Final = ("torchvision/googlenet", "torchvision/inception_v3")
# Resize((256, 256)) stretches, unlike Resize(256), with which torchvision trained its own alexnet.
TUTORIAL: Final = InputSpec(resize=(256, 256), crop=(224, 224), interpolation="bilinear", **_IMAGENET)
USUAL: Final = InputSpec(resize=256, crop=(224, 224), interpolation="bilinear", **_IMAGENET)


def published_input(architecture: str) -> InputSpec:
    """Return the preparation that the library of ``architecture`` (with its library) published for its own weights.

    It may have the tag of certain weights, instead of timm's default or torchvision's first. Networks without published
    weights get the usual one: shorter side 256, center 224, ImageNet's mean and deviation.
    """
    library, _, name = architecture.partition("/")
    if library == "torchvision":
        return _of_torchvision(name)
    published: Any = timm.get_pretrained_cfg(name)
    if published is None:
        published = timm.create_model(name).pretrained_cfg
    return timm_input(published if isinstance(published, Mapping) else published.to_dict())


def with_tag(architecture: str, tag: str) -> str:
    """Return ``architecture`` with the ``tag`` of weights, as timm writes it, if its library has such weights.

    The tags of torchvision are those of its enums, such as IMAGENET1K_V2, in any case.
    """
    library, _, name = architecture.partition("/")
    if not tag:
        return architecture
    if library == "torchvision":
        found = models.get_model_weights(name).__members__.get(tag.upper())
        return f"{architecture}.{found.name}" if found else architecture
    try:
        timm.get_pretrained_cfg(f"{name}.{tag}", allow_unregistered=False)
    except RuntimeError:  # there are none
        return architecture
    return f"{architecture}.{tag}"


def current_name(name: str) -> str:
    """Return what timm calls a network today, and its weights: vit_base_patch16_224.dino once had a name of its own."""
    library, slash, short = name.strip().lower().removeprefix("hf_hub:").removeprefix("hf-hub:").rpartition("/")
    return f"{library}{slash}{_renamed().get(short) or short}"


@cache
def _renamed() -> Mapping[str, str | None]:
    renamed: Mapping[str, str | None] = get_deprecated_models()
    return renamed


def _of_torchvision(name: str) -> InputSpec:
    short, _, tag = name.partition(".")
    weights = models.get_model_weights(short)
    published = weights[tag] if tag else next(iter(weights), None)
    if published is None:
        return USUAL
    preset = published.transforms()
    return InputSpec(
        resize=preset.resize_size[0],
        crop=(preset.crop_size[0], preset.crop_size[0]),
        interpolation=_interpolation(preset.interpolation),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def timm_input(published: Mapping[str, Any]) -> InputSpec:
    """Return the preparation that ``published``, a timm configuration, describes.

    Raises:
        ModelError: No InputSpec can express it.
    """
    recipe = _TIMMS | {name: value for name, value in published.items() if value is not None}
    if recipe["crop_mode"] not in _CROP_MODES:
        raise ModelError(f"The crop mode {recipe['crop_mode']!r} is not supported: set the size.", Remedy("resize"))
    _, height, width = recipe["input_size"]
    share = min(recipe["crop_pct"], 1.0)  # three networks of timm publish more than the whole image
    scaled = math.floor(height / share), math.floor(width / share)
    squashed = recipe["crop_mode"] == "squash" or height != width
    return InputSpec(
        resize=scaled if squashed else scaled[0],
        crop=(height, width),
        interpolation=_interpolation(recipe["interpolation"]),
        mean=tuple(recipe["mean"]),
        std=tuple(recipe["std"]),
    )


def _interpolation(published: str | InterpolationMode) -> Interpolation:
    name = published.value if isinstance(published, InterpolationMode) else published
    for known in get_args(Interpolation):
        if known == name:
            return known  # type: ignore[no-any-return] # it is one of the literals
    raise ModelError(f"The resize filter {name!r} is not supported: choose another.", Remedy("interpolation"))


def for_channels(spec: InputSpec, channels: int, *, published: bool) -> tuple[InputSpec, bool]:
    """Return ``spec`` for a network with this many ``channels``, and whether mean and deviation had to be guessed.

    A ``published`` spec is for color images, so a gray network gets the usual mean and deviation. In a spec from the
    file, one number stands for three equal ones, and vice versa.

    Raises:
        ModelError: The file has several different ones for one channel.
    """
    if spec.channels == channels:
        return spec, False
    fields = spec.model_dump() | {"channels": channels}
    guessed = published and channels == 1
    if guessed:
        fields |= dict.fromkeys(_PER_CHANNEL, (USUAL_OF_GRAY,))
    return InputSpec.model_validate(per_channel(fields, channels)), guessed


def per_channel(fields: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """Return ``fields`` of an InputSpec with one mean and one deviation per channel; equal values stand for one.

    Raises:
        ModelError: Several values differ, and there is one channel.
    """
    fitting = dict(fields)
    for name in _PER_CHANNEL:
        values = tuple(fields.get(name) or ())
        if values and len(values) != channels:
            if len(set(values)) > 1:
                given = ",".join(f"{value:g}" for value in values)
                raise ModelError(
                    f"The network takes gray images (one channel), but {name} has several values, {given}: give one.",
                    Remedy(name),
                )
            fitting[name] = values[:1] * channels
    return fitting

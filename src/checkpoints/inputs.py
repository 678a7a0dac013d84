"""How images were prepared when a network was trained: what its library published, or the tutorial's way."""

import math
from typing import Any, Final, get_args

import timm
from torchvision import models
from torchvision.transforms import InterpolationMode

from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec, Interpolation

__all__ = ["TUTORIAL", "USUAL", "published_input"]

_IMAGENET: Final[dict[str, Any]] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# Resize((256, 256)) stretches, unlike Resize(256), with which torchvision trained its own alexnet.
TUTORIAL: Final = InputSpec(resize=(256, 256), crop=(224, 224), interpolation="bilinear", **_IMAGENET)
USUAL: Final = InputSpec(resize=256, crop=(224, 224), interpolation="bilinear", **_IMAGENET)


def published_input(architecture: str) -> InputSpec:
    """Return the preparation that the library of ``architecture`` (with its library) published for its own weights.

    Networks without published weights get the usual one: shorter side 256, centre 224, ImageNet's mean and deviation.
    """
    library, _, name = architecture.partition("/")
    if library == "torchvision":
        return _of_torchvision(name)
    return _of_timm(timm.get_pretrained_cfg(name) or timm.create_model(name).default_cfg)


def _of_torchvision(name: str) -> InputSpec:
    weights = list(models.get_model_weights(name))
    if not weights:
        return USUAL
    preset = weights[0].transforms()
    return InputSpec(
        resize=preset.resize_size[0],
        crop=(preset.crop_size[0], preset.crop_size[0]),
        interpolation=_interpolation(preset.interpolation),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def _of_timm(published: Any) -> InputSpec:  # noqa: ANN401 - timm's configurations have no type
    _, height, width = published.input_size
    share = min(published.crop_pct, 1.0)  # three networks of timm publish more than the whole image
    scaled = math.floor(height / share), math.floor(width / share)
    squashed = published.crop_mode == "squash" or height != width
    return InputSpec(
        resize=scaled if squashed else scaled[0],
        crop=(height, width),
        interpolation=_interpolation(published.interpolation),
        mean=tuple(published.mean),
        std=tuple(published.std),
    )


def _interpolation(published: str | InterpolationMode) -> Interpolation:
    name = published.value if isinstance(published, InterpolationMode) else published
    for known in get_args(Interpolation):
        if known == name:
            return known  # type: ignore[no-any-return] # it is one of the literals
    raise ModelError(f"Images cannot be resized by {name!r}: say by which filter instead.", Remedy("interpolation"))

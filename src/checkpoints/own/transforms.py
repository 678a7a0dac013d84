"""A transform of torchvision, first or second version -> the InputSpec that prepares images like it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import torch
from pydantic import ValidationError
from torch import nn
from torchvision.transforms import Compose as FirstCompose
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

from src.errors import ModelError
from src.stages.input_spec import InputSpec

__all__ = ["input_of"]

_LIBRARY: Final = "torchvision.transforms."
# "nearest-exact" is what Pillow does by either name.
_FILTERS: Final = {"nearest-exact": "nearest", **{name: name for name in ("nearest", "bilinear", "bicubic", "lanczos")}}


def input_of(transform: object) -> InputSpec:
    """Return how ``transform``, such as a Compose, prepares images for validation.

    Raises:
        ModelError: A step of it is not known, chooses at random, or stands where it means something else; it is named.
    """
    if isinstance(transform, InputSpec):
        return transform
    recipe: dict[str, Any] = {}
    for step in _steps(transform):
        _reader(step)(recipe, step)
    if "dtype" not in recipe:
        raise ModelError("The transform makes no floats from 0 to 1: end it with ToTensor, or ToImage and ToDtype.")
    if "resize" not in recipe:
        raise ModelError("The transform does not resize images, but they come in any size: begin it with Resize.")
    if "crop" not in recipe and isinstance(recipe["resize"], int):
        raise ModelError("Resize with one number leaves images of many sizes: put CenterCrop behind it, or give two.")
    return _spec(recipe)


def _spec(recipe: Mapping[str, Any]) -> InputSpec:
    channels = recipe.get("channels", 3)
    mean, std = (
        tuple(values) * (channels if len(values) == 1 else 1)
        for values in (recipe.get("mean", (0.0,)), recipe.get("std", (1.0,)))
    )
    try:
        return InputSpec(
            channels=channels,
            resize=recipe["resize"],
            crop=recipe.get("crop", recipe["resize"]),
            interpolation=recipe["interpolation"],
            mean=mean,
            std=std,
        )
    except ValidationError as exc:
        raise ModelError(f"The transform prepares images as no model is served: {exc.errors()[0]['msg']}.") from exc


def _steps(transform: object) -> Iterator[object]:
    if isinstance(transform, FirstCompose | v2.Compose):
        transform = transform.transforms
    if isinstance(transform, nn.Sequential | list | tuple):
        inside: Iterable[object] = transform
        for step in inside:
            yield from _steps(step)
    else:
        yield transform


def _reader(step: object) -> Callable[[dict[str, Any], Any], None]:
    kind = type(step)
    known = _READERS.get(kind.__name__) if kind.__module__.startswith((_LIBRARY, "torch.nn.")) else None
    if known is None:
        why = "chooses at random" if "Random" in kind.__name__ else "changes pixels in a way that is not known"
        raise ModelError(f"The transform {kind.__name__} {why}: give the transform of validation, or an InputSpec.")
    return known


def _neutral(*_: object) -> None:
    pass


def _to_tensor(recipe: dict[str, Any], _: object) -> None:
    recipe["tensor"] = True


def _misplaced(step: object) -> ModelError:
    return ModelError(f"{type(step).__name__} stands where no model is served with it: give an InputSpec instead.")


def _resize(recipe: dict[str, Any], step: Any) -> None:  # noqa: ANN401 - both versions have one of their own
    mode = str(getattr(step.interpolation, "value", step.interpolation))
    if {"resize", "crop", "mean"} & recipe.keys() or step.size is None or step.max_size is not None:
        raise _misplaced(step)
    if mode not in _FILTERS or (recipe.get("tensor") and (not step.antialias or mode == "nearest")):
        raise _misplaced(step)
    sides = [step.size] if isinstance(step.size, int) else list(step.size)
    recipe["resize"] = sides[0] if len(sides) == 1 else (sides[0], sides[1])
    recipe["interpolation"] = _FILTERS[mode]


def _crop(recipe: dict[str, Any], step: Any) -> None:  # noqa: ANN401 - both versions have one of their own
    if "crop" in recipe or "resize" not in recipe:
        raise _misplaced(step)
    size = [step.size] if isinstance(step.size, int) else list(step.size)
    recipe["crop"] = (size[0], size[-1])


def _gray(recipe: dict[str, Any], step: Any) -> None:  # noqa: ANN401 - both versions have one of their own
    if step.num_output_channels != 1 or "mean" in recipe:
        raise _misplaced(step)
    recipe["channels"] = 1


def _scale(recipe: dict[str, Any], step: Any) -> None:  # noqa: ANN401 - both versions have one of their own
    dtype, scaled = getattr(step, "dtype", torch.float32), getattr(step, "scale", True)
    if dtype not in {torch.float32, torch.uint8} or not scaled or "mean" in recipe:
        raise _misplaced(step)
    if dtype == torch.float32:
        recipe |= {"dtype": dtype, "tensor": True}


def _normalize(recipe: dict[str, Any], step: Any) -> None:  # noqa: ANN401 - both versions have one of their own
    if "mean" in recipe or "dtype" not in recipe:
        raise _misplaced(step)
    recipe["mean"], recipe["std"] = ([float(value) for value in values] for values in (step.mean, step.std))


def _preset(recipe: dict[str, Any], step: ImageClassification) -> None:
    """Read the transform that torchvision publishes with weights."""
    if recipe:
        raise _misplaced(step)
    side = step.crop_size[0]
    recipe |= {"resize": step.resize_size[0], "crop": (side, side), "interpolation": _FILTERS[step.interpolation.value]}
    recipe |= {"dtype": torch.float32, "mean": step.mean, "std": step.std}


_READERS: Final[Mapping[str, Callable[[dict[str, Any], Any], None]]] = {
    **dict.fromkeys(("ToPureTensor", "Identity", "RGB"), _neutral),
    **dict.fromkeys(("ToImage", "PILToTensor"), _to_tensor),
    **dict.fromkeys(("ToTensor", "ToDtype", "ConvertImageDtype"), _scale),
    "Resize": _resize,
    "CenterCrop": _crop,
    "Grayscale": _gray,
    "Normalize": _normalize,
    "ImageClassification": _preset,
}

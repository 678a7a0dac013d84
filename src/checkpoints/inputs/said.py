"""Hyper-parameters about the preprocessing: of the scripts of timm and torchvision, mean and std, and sizes."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import timm
import timm.data

from src.checkpoints.inputs.published import USUAL, current_name, timm_input
from src.checkpoints.reading.nested import walk
from src.checkpoints.reading.stand_ins import fields
from src.errors import ModelError
from src.stages.input_spec import InputSpec

__all__ = ["said_normalization", "said_size", "script_input", "script_network"]

_OF_TIMM: Final = {"model", "crop_pct", "interpolation", "mean", "std", "input_size", "img_size"}
_OF_TORCHVISION: Final = {"model", "val_resize_size", "val_crop_size", "interpolation"}
_OF: Final = "(?:pixel|image|img|imagenet|input|data|dataset|channel|norm|normalize|normalization)_"
_MEAN: Final = re.compile(f"((?:{_OF})?)mean(s?)")
_SIZE: Final = re.compile(r"(?:im|img|image|input|crop|resize|target)_?(?:size|sz|res|resolution)")
_LEVELS: Final = 255
_SIDES: Final = range(16, 1025)  # others mean something else, such as a number of features


def script_network(said: Mapping[str, object]) -> str | None:
    """Return the network, with its library, if ``said`` are the arguments of that library's own training script."""
    model = said.get("model")
    if not isinstance(model, str):
        return None
    if said.keys() >= _OF_TIMM:
        return f"timm/{_of_the_hub(model).partition('.')[0]}"
    return f"torchvision/{model}" if said.keys() >= _OF_TORCHVISION else None


def _of_the_hub(model: str) -> str:
    return current_name(model).rpartition("/")[2]


def script_input(said: Mapping[str, object]) -> InputSpec | None:
    """Return how the training script of timm or torchvision with the arguments ``said`` prepares validation images."""
    network = script_network(said)
    if network is None:
        return None
    with suppress(ModelError, AssertionError, RuntimeError, TypeError, ValueError):  # arguments of another script
        return _of_timm(said) if network.startswith("timm/") else _of_torchvision(said)
    return None


def _of_timm(said: Mapping[str, object]) -> InputSpec:
    published: Any = timm.get_pretrained_cfg(_of_the_hub(str(said["model"])), allow_unregistered=False)
    data: Any = timm.data  # it has no types
    return timm_input(data.resolve_data_config(dict(said), pretrained_cfg=published.to_dict()))


def _of_torchvision(said: Mapping[str, object]) -> InputSpec:
    crop = said["val_crop_size"]
    recipe = {"resize": said["val_resize_size"], "crop": (crop, crop), "interpolation": said["interpolation"]}
    return InputSpec.model_validate(USUAL.model_dump() | recipe)


def said_normalization(*said: Mapping[str, object]) -> dict[str, tuple[float, ...]]:
    """Return the mean and std of images in ``said``, in units of [0, 1]; empty unless there is exactly one pair."""
    containers = [*said, *(value for _, value in walk(*said))]
    found = {pair for container in containers for pair in _pairs(fields(container))}
    return dict(zip(("mean", "std"), found.pop(), strict=True)) if len(found) == 1 else {}


def _pairs(held: Mapping[Any, Any]) -> Iterator[tuple[tuple[float, ...], tuple[float, ...]]]:
    named = {str(name).lower(): value for name, value in held.items()}
    for name, value in named.items():
        if match := _MEAN.fullmatch(name):
            mean, std = _numbers(value), _numbers(named.get(f"{match[1]}std{match[2]}"))
            of_levels = max(mean, default=0) > 1 or (not any(mean) and min(std, default=0) > 1)
            most, least = (_LEVELS, 1) if of_levels else (1, sys.float_info.min)
            if mean and len(mean) == len(std) and 0 <= min(mean) <= max(mean) <= most and min(std) >= least:
                yield tuple(each / most for each in mean), tuple(each / most for each in std)


def _numbers(value: object) -> tuple[float, ...]:
    """Return the numbers in a list of one or three of them; empty for everything else."""
    numbers = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(numbers, Sequence) or len(numbers) not in {1, 3}:
        return ()
    return tuple(map(float, numbers)) if all(type(one) in {int, float} for one in numbers) else ()


def said_size(*said: Mapping[str, object]) -> tuple[str, int] | None:
    """Return the name and the value of a hyper-parameter that is the side of the images in pixels, or None."""
    for name, value in walk(*said):
        if _SIZE.fullmatch(name.lower()):
            sides = {value} if not isinstance(value, Sequence) else set(value[-2:])
            if len(sides) == 1 and type(side := sides.pop()) is int and side in _SIDES:
                return name, side
    return None

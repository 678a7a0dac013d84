"""A pickled Compose of torchvision -> the InputSpec that prepares images like it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from src.checkpoints.reading.said import walk
from src.checkpoints.reading.stand_ins import StandIn, fields
from src.stages.input_spec import InputSpec

__all__ = ["stored_transform"]

_PACKAGE: Final = "torchvision.transforms."
_CONTAINERS: Final = ("Compose", "Sequential")
_IN_TRAINING: Final = "train"  # part of the name of what is rather not the preparation of images to be recognized
_NEUTRAL: Final = ("PILToTensor", "ToImage", "ToPureTensor", "RGB")
_FILTERS: Final = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # numbers: of torchvision before 0.9


def stored_transform(*said: Mapping[str, object]) -> tuple[str, InputSpec] | None:
    """Return the name and the recipe of a transform in ``said`` that prepares every image alike, if there is one.

    What augments images is passed over; of several those that are not called after training come first.
    """
    found = [(name, spec) for name, value in walk(*said) for spec in _specs(value)]
    return min(found, key=lambda each: _IN_TRAINING in each[0].lower(), default=None)


def _specs(value: object) -> Iterator[InputSpec]:
    """Yield the recipe of ``value`` if it is a transform that is known in all its steps."""
    if not isinstance(value, StandIn) or not value.called.startswith(_PACKAGE):
        return
    try:
        yield _preset(value) if _short(value) == "ImageClassification" else _composed(value)
    except (_UnknownStepError, ValidationError, KeyError, TypeError, ValueError):
        return


class _UnknownStepError(Exception):
    """A step that is not known, or not in this place."""


def _short(step: StandIn) -> str:
    return step.called.rpartition(".")[2]


def _composed(compose: StandIn) -> InputSpec:
    recipe: dict[str, Any] = {"interpolation": "bilinear", "mean": (0.0,) * 3, "std": (1.0,) * 3}
    for step in _steps(compose):
        _STEPS.get(_short(step), _unknown)(recipe, fields(step))
    if not recipe.pop("scaled", False):
        raise _UnknownStepError
    if recipe.get("channels") == 1:
        recipe |= {name: tuple(recipe[name][:1]) for name in ("mean", "std")}
    if "crop" not in recipe and not isinstance(recipe["resize"], int):
        recipe["crop"] = recipe["resize"]
    return InputSpec(**recipe)


def _steps(compose: StandIn) -> Iterator[StandIn]:
    if _short(compose) not in _CONTAINERS:
        raise _UnknownStepError
    steps = fields(compose).get("transforms") or list(fields(compose)["_modules"].values())
    for step in steps:
        if not isinstance(step, StandIn):
            raise _UnknownStepError
        if _short(step) in _CONTAINERS:
            yield from _steps(step)
        else:
            yield step


def _unknown(*_: object) -> None:
    raise _UnknownStepError


def _neutral(*_: object) -> None:
    pass


def _scaled(recipe: dict[str, Any], state: Mapping[str, Any]) -> None:
    if not state.get("scale", True):
        raise _UnknownStepError
    recipe["scaled"] = True


def _resize(recipe: dict[str, Any], state: Mapping[str, Any]) -> None:
    if {"resize", "crop"} & recipe.keys() or state.get("max_size") is not None:
        raise _UnknownStepError
    size = state["size"]
    sides = [size] if isinstance(size, int) else list(size)
    recipe["resize"] = sides[0] if len(sides) == 1 else (sides[0], sides[1])
    recipe["interpolation"] = _filter(state.get("interpolation"))


def _crop(recipe: dict[str, Any], state: Mapping[str, Any]) -> None:
    if "crop" in recipe or "resize" not in recipe:
        raise _UnknownStepError
    size = state["size"]
    recipe["crop"] = (size, size) if isinstance(size, int) else (size[0], size[-1])


def _normalize(recipe: dict[str, Any], state: Mapping[str, Any]) -> None:
    if "scaled" not in recipe:
        raise _UnknownStepError
    recipe["mean"], recipe["std"] = ([float(each) for each in state[name]] for name in ("mean", "std"))


def _gray(recipe: dict[str, Any], state: Mapping[str, Any]) -> None:
    if state.get("num_output_channels") != 1 or "resize" in recipe:
        raise _UnknownStepError
    recipe["channels"] = 1


def _filter(value: object) -> str:
    """Return the name of a filter, which torchvision has as an Enum and had as a number."""
    name = value.args[0] if isinstance(value, StandIn) and value.args else value
    return _FILTERS[name] if isinstance(name, int) else str(name)


def _preset(preset: StandIn) -> InputSpec:
    """Return the recipe of the transform that torchvision publishes with weights."""
    state = fields(preset)
    return InputSpec(
        resize=state["resize_size"][0],
        crop=(state["crop_size"][0], state["crop_size"][0]),
        interpolation=_filter(state["interpolation"]),
        mean=tuple(state["mean"]),
        std=tuple(state["std"]),
    )


_STEPS: Final[Mapping[str, Callable[[dict[str, Any], Mapping[str, Any]], None]]] = {
    **dict.fromkeys(_NEUTRAL, _neutral),
    **dict.fromkeys(("ToTensor", "ConvertImageDtype", "ToDtype"), _scaled),
    "Resize": _resize,
    "CenterCrop": _crop,
    "Normalize": _normalize,
    "Grayscale": _gray,
}

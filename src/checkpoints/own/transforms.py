"""A transform of torchvision, v1 or v2 -> the InputSpec that prepares images the same way."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import torch
from pydantic import ValidationError

from src.errors import ModelError
from src.stages.input_spec import InputSpec

__all__ = ["Step", "input_of", "spec_of", "steps_of"]

_LIBRARIES: Final = ("torchvision.transforms.", "torch.nn.")
_CONTAINERS: Final = ("Compose", "Sequential")
_NEUTRAL: Final = ("Identity", "RGB", "ToPureTensor")
_STATISTICS: Final = ("mean", "std")
_NAMES: Final = ("nearest", "lanczos", "bilinear", "bicubic")  # by their numbers before torchvision 0.9
# Pillow implements "nearest-exact" under either name; the other filters have no exact variant.
_FILTERS: Final = {key: name for number, name in enumerate(_NAMES) for key in (number, name, f"{name}-exact")}


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a transform, in memory or pickled: the full name of its class, and its fields, with enums as values."""

    called: str
    fields: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of its class, or empty if the class is not a library's."""
        return self.called.rpartition(".")[2] if self.called.startswith(_LIBRARIES) else ""


def input_of(transform: object) -> InputSpec:
    """Return how ``transform``, such as a Compose, prepares images for validation.

    Raises:
        ModelError: A step, named in the message, is unknown, random or misplaced.
    """
    if isinstance(transform, InputSpec):
        return transform
    return spec_of(steps_of(transform if isinstance(transform, list | tuple) else [transform], _in_memory))


def _in_memory(value: object) -> Step:
    held = getattr(value, "__dict__", {})
    plain = {name: each.value if isinstance(each, Enum) else each for name, each in held.items()}
    return Step(f"{type(value).__module__}.{type(value).__qualname__}", plain)


def steps_of(values: Iterable[object], step: Callable[[object], Step]) -> Iterator[Step]:
    """Yield each of ``values`` as a ``step``: containers are entered, and steps without effect skipped."""
    for one in map(step, values):
        if one.name in _CONTAINERS:
            yield from steps_of(one.fields.get("transforms") or one.fields.get("_modules", {}).values(), step)
        elif one.name not in _NEUTRAL:
            yield one


def spec_of(steps: Iterable[Step]) -> InputSpec:
    """Return how ``steps``, in this order, prepare images, or raise a ModelError as ``input_of`` does."""
    recipe: dict[str, Any] = {}
    for step in steps:
        _READERS.get(step.name, _unknown)(recipe, step)
    if recipe.pop("values", None) != "floats":
        raise ModelError("The transform does not scale to [0, 1]: end it with ToTensor, or ToImage and ToDtype.")
    if "resize" not in recipe:
        raise ModelError("The transform does not resize images, but images come in any size: begin it with Resize.")
    if "crop" not in recipe and isinstance(recipe["resize"], int):
        raise ModelError("Resize with one number leaves images of many sizes: add CenterCrop after it, or give two.")
    whole = {"channels": 3, "crop": recipe["resize"], "mean": (0.0,), "std": (1.0,), **recipe}
    whole |= {name: tuple(whole[name]) * (whole["channels"] if len(whole[name]) == 1 else 1) for name in _STATISTICS}
    try:
        return InputSpec(**whole)
    except ValidationError as exc:
        raise ModelError(f"The service cannot prepare images like this transform: {exc.errors()[0]['msg']}.") from exc


def _unknown(_: object, step: Step) -> None:
    name = step.called.rpartition(".")[2]
    why = "chooses at random" if "Random" in name else "changes pixels in an unknown way"
    raise ModelError(f"The transform {name} {why}: give the transform of validation, or an InputSpec.")


def _refuse_if(misplaced: object, step: Step) -> None:
    if misplaced:
        raise ModelError(f"{step.name} is in a position that is not supported: give an InputSpec instead.")


def _to_tensor(recipe: dict[str, Any], _: Step) -> None:
    recipe.setdefault("values", "bytes")


def _sides(size: int | Iterable[int]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)


def _resize(recipe: dict[str, Any], step: Step) -> None:
    mode = step.fields["interpolation"]
    _refuse_if({"resize", "mean"} & recipe.keys() or step.fields.get("max_size") or mode not in _FILTERS, step)
    smooths = step.fields.get("antialias") is True  # "warn", the default of torchvision 0.15 and 0.16, means no
    _refuse_if("values" in recipe and (not smooths or mode in {"nearest", 0}), step)
    sides = _sides(step.fields["size"])
    recipe |= {"resize": sides[0] if len(sides) == 1 else sides, "interpolation": _FILTERS[mode]}


def _crop(recipe: dict[str, Any], step: Step) -> None:
    _refuse_if("crop" in recipe or "resize" not in recipe, step)
    recipe["crop"] = (_sides(step.fields["size"]) * 2)[:2]


def _gray(recipe: dict[str, Any], step: Step) -> None:
    _refuse_if(step.fields["num_output_channels"] != 1 or "mean" in recipe, step)
    recipe["channels"] = 1


def _scale(recipe: dict[str, Any], step: Step) -> None:
    dtype = step.fields.get("dtype", torch.float32)
    scaled = step.fields.get("scale", step.name != "ToDtype")  # ToDtype did not scale before it had this field
    _refuse_if("mean" in recipe or not scaled, step)
    _refuse_if(dtype != torch.float32 and (dtype != torch.uint8 or recipe.get("values") == "floats"), step)
    recipe["values"] = "floats" if dtype == torch.float32 else "bytes"


def _normalize(recipe: dict[str, Any], step: Step) -> None:
    _refuse_if("mean" in recipe or recipe.get("values") != "floats", step)
    recipe |= {name: [float(value) for value in step.fields[name]] for name in _STATISTICS}


def _preset(recipe: dict[str, Any], step: Step) -> None:
    _resize(recipe, Step(step.called, {**step.fields, "size": step.fields["resize_size"]}))
    _crop(recipe, Step(step.called, {"size": step.fields["crop_size"]}))
    _scale(recipe, step)
    _normalize(recipe, step)


_READERS: Final[Mapping[str, Callable[[dict[str, Any], Step], None]]] = {
    **dict.fromkeys(("ToImage", "PILToTensor"), _to_tensor),
    **dict.fromkeys(("ToTensor", "ToDtype", "ConvertImageDtype"), _scale),
    "Resize": _resize,
    "CenterCrop": _crop,
    "Grayscale": _gray,
    "Normalize": _normalize,
    "ImageClassification": _preset,  # published by torchvision with weights
}

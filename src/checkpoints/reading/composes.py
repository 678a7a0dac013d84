"""A pickled Compose of torchvision -> the InputSpec that prepares images like it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from src.checkpoints.own.transforms import Step, spec_of, steps_of
from src.checkpoints.reading.nested import walk
from src.checkpoints.reading.stand_ins import StandIn, fields
from src.errors import ModelError
from src.stages.input_spec import InputSpec

__all__ = ["stored_transform", "transform_passed_over"]

_KNOWN: Final = ("torchvision.transforms.", "torch.nn.modules.container.Sequential")
_TRANSFORMS: Final = ("torchvision.transforms.", "albumentations.", "kornia.augmentation.")


def stored_transform(*said: Mapping[str, object]) -> tuple[str, InputSpec] | None:
    """Return the name and the recipe of a transform in ``said`` that prepares every image alike, if there is one.

    What augments images is passed over; of several those that are not called after training come first.
    """
    found = [(name, spec) for name, value in walk(*said) for spec in _specs(value)]
    return min(found, key=lambda each: "train" in each[0].lower(), default=None)


def transform_passed_over(*said: Mapping[str, object]) -> str | None:
    """Return the name of a transform in ``said`` that has no recipe, if there is one."""
    called = ((name, value.called) for name, value in walk(*said) if isinstance(value, StandIn))
    return next((name for name, kind in called if kind.startswith(_TRANSFORMS)), None)


def _specs(value: object) -> Iterator[InputSpec]:
    """Yield the recipe of ``value`` if it is a transform that is known in all its steps."""
    # A file may hold anything in place of what a step needs.
    with suppress(ModelError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        steps = list(steps_of([value], _step))
        names = [step.name for step in steps]
        # Gray after the resize rounds otherwise: near enough where a person gives the transform, not where it is found.
        if "Grayscale" not in names or "Resize" not in names[: names.index("Grayscale")]:
            yield spec_of(steps)


def _step(value: object) -> Step:
    if not isinstance(value, StandIn) or not value.called.startswith(_KNOWN):
        raise ModelError("The transform has a step that is not torchvision's.")
    held = fields(value).items()
    plain = {name: each.args[0] if isinstance(each, StandIn) and each.args else each for name, each in held}
    return Step(value.called, plain)

"""A pickled Compose of torchvision -> the InputSpec that prepares images the same way."""

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
    """Return the name and the InputSpec of a deterministic transform in ``said``, or None.

    Augmentations are skipped; transforms without "train" in their name take precedence.
    """
    found = [(name, spec) for name, value in walk(*said) for spec in _specs(value)]
    return min(found, key=lambda each: "train" in each[0].lower(), default=None)


def transform_passed_over(*said: Mapping[str, object]) -> str | None:
    """Return the name of a transform in ``said``, or None."""
    called = ((name, value.called) for name, value in walk(*said) if isinstance(value, StandIn))
    return next((name for name, kind in called if kind.startswith(_TRANSFORMS)), None)


def _specs(value: object) -> Iterator[InputSpec]:
    """Yield the InputSpec of ``value`` if it is a transform and all its steps are supported."""
    # A file may hold anything in place of what a step needs.
    with suppress(ModelError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        steps = list(steps_of([value], _step))
        names = [step.name for step in steps]
        # Grayscale after Resize rounds differently: close enough if the user gives the transform, not if inferred.
        if "Grayscale" not in names or "Resize" not in names[: names.index("Grayscale")]:
            yield spec_of(steps)


def _step(value: object) -> Step:
    if not isinstance(value, StandIn) or not value.called.startswith(_KNOWN):
        raise ModelError("The transform has a step that is not torchvision's.")
    held = fields(value).items()
    plain = {name: each.args[0] if isinstance(each, StandIn) and each.args else each for name, each in held}
    return Step(value.called, plain)

"""Compare the layers of a whole pickled network with those of the library's network."""

import re
from collections.abc import Mapping
from typing import Any, Final

from torch import nn

from src.checkpoints.given import needs_own_class
from src.checkpoints.reading.stand_ins import StandIn, fields
from src.checkpoints.recognition.parts import unwrapped

__all__ = ["check_modules"]

_OF_TORCH: Final = "torch.nn.modules."
_OF_LIBRARIES: Final = ("timm.", "torchvision.")
_SYNCHRONIZED: Final = "SyncBatchNorm"
_WITHOUT_EFFECT: Final = re.compile(r"Identity|Flatten|\w*Drop(out|Path|Block)\w*|StochasticDepth")
# Fields of torch's layers that affect answers in evaluation, and that no tensor shows.
_FIELDS: Final = (
    *("stride", "padding", "dilation", "groups", "padding_mode", "kernel_size", "output_size", "ceil_mode", "eps"),
    *("negative_slope", "approximate", "count_include_pad"),
)


def check_modules(modules: Mapping[str, StandIn], prefix: str, network: nn.Module) -> None:
    """Refuse if ``modules`` of a pickled network, under ``prefix``, differ from those of ``network``.

    Only layers of torch, and those of the user's own in their place, are compared: libraries rename theirs.

    Raises:
        ModelError: A layer is another one, or has other settings; the message names it.
    """
    plain = {unwrapped(name): module for name, module in modules.items()}
    for name, own in network.named_modules():
        place = ".".join(filter(None, (prefix, name)))
        stored = plain.get(place)
        if stored is not None and (difference := _difference(stored, own)):
            raise needs_own_class(f"The file holds a whole network, whose {place} is {difference}")


def _difference(stored: StandIn, own: nn.Module) -> str | None:
    theirs, ours = stored.called.rpartition(".")[2], type(own).__name__
    if not type(own).__module__.startswith(_OF_TORCH) or isinstance(own, nn.Identity | nn.Sequential):
        return None
    held = fields(stored)
    if not own.state_dict() and (held["_modules"] or held["_parameters"]):  # of a head, which is read by its tensors
        return None
    if theirs != ours and not (theirs == _SYNCHRONIZED and isinstance(own, nn.BatchNorm2d)):
        is_alike = stored.called.startswith(_OF_LIBRARIES) or _are_without_effect(theirs, ours)
        return None if is_alike else f"{_article(theirs)} instead of {_article(ours)}"
    for name in _FIELDS:
        if name in held and hasattr(own, name) and _single(held[name]) != _single(getattr(own, name)):
            return f"{_article(ours)} with the {name} {held[name]} instead of {getattr(own, name)}"
    return None


def _are_without_effect(*names: str) -> bool:
    return all(_WITHOUT_EFFECT.fullmatch(name) for name in names)


def _article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"


def _single(value: Any) -> Any:  # noqa: ANN401 - whatever a layer has
    """Return the number that a pair of equal ones stands for."""
    return value[0] if isinstance(value, tuple | list) and value and all(one == value[0] for one in value) else value

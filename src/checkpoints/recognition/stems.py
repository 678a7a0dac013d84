"""Handle a first convolution that was changed, usually for small images."""

from typing import Final

from torch import nn

from src.checkpoints.given import needs_own_class
from src.checkpoints.network import RGB
from src.checkpoints.recognition.bodies import Stem
from src.errors import ModelError, Remedy

__all__ = ["check_stem", "put_stem"]

_LARGE: Final = (7, 7)
_SMALL: Final = (3, 3)


def check_stem(stem: Stem | None, given: str | None, architecture: str) -> None:
    """Refuse a first convolution whose stride and padding the file does not show.

    Raises:
        ModelError: It is neither the one of ``architecture`` nor the ``given`` one; the message says what to do.
    """
    if stem is None:
        if given is not None:
            raise ModelError(f"The first convolution is that of {architecture} itself: omit the stem.")
        return
    if stem.shape[1] not in {1, RGB}:
        raise ModelError(
            f"The first convolution, {stem.name}, takes {stem.shape[1]} channels, but images have 3 (red, green and"
            " blue) or 1 (gray): give your own class, which converts these to its channels.",
            Remedy("module"),
        )
    if stem.is_own and given is None:
        return
    is_small = (stem.expected[2:], stem.shape[2:]) == (_LARGE, _SMALL)
    if given is not None and is_small:
        return
    what = f"{architecture} fits, but {stem.name} has the shape {stem.shape} instead of {stem.expected}"
    if is_small:
        raise ModelError(
            f"{what}: is it the variant for CIFAR's small images, a 3 x 3 convolution with stride 1 and no max-pool"
            " after it? The file does not show that: say so, or give your own class.",
            Remedy("stem", "cifar"),
            Remedy("module"),
        )
    raise needs_own_class(what)


def put_stem(network: nn.Module, stem: Stem | None) -> None:
    """Replace the first convolution of ``network`` by one for CIFAR: 3 x 3, stride 1, padding 1, no max-pool."""
    if stem is None or stem.is_own:
        return
    place = stem.name.removesuffix(".weight")
    has_bias = network.get_submodule(place).bias is not None
    network.set_submodule(place, nn.Conv2d(stem.shape[1], stem.shape[0], _SMALL, stride=1, padding=1, bias=has_bias))
    parent = place.rpartition(".")[0]
    for name, module in list(network.get_submodule(parent).named_children()):
        if isinstance(module, nn.MaxPool2d):
            network.get_submodule(parent).set_submodule(name, nn.Identity())

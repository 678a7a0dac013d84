"""A network with its weights, and how to build one by its architecture name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import timm
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from src.checkpoints.given import Note
from src.errors import ModelError

__all__ = ["RGB", "Loaded", "build", "build_to_load"]

RGB: Final = 3  # channels
_OF_A_CONVOLUTION: Final = ("kernel_size", "stride", "padding", "dilation", "padding_mode")

# Their auxiliary heads are for training only, often for other classes; initializing their weights takes minutes.
_WITH_AUXILIARY_HEADS: Final = ("googlenet", "inception_v3")

_RANDOM: Final = {Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network with the weights of a file, in eval mode.

    ``left_out`` are the names, as the file has them, of tensors that are not part of it; ``last`` is the file's name
    for its last layer, unless that is the architecture's own.
    """

    architecture: str
    network: nn.Module
    num_classes: int
    left_out: tuple[str, ...]
    notes: tuple[Note, ...] = ()
    last: str = ""


def build(architecture: str, num_classes: int, channels: int = RGB) -> nn.Module:
    """Return the network ``torchvision/<name>`` or ``timm/<name>`` with random weights, in eval mode.

    It takes images with this many ``channels``; a torchvision network gets a new first convolution for that.

    Raises:
        ModelError: There is no such network.
    """
    library, _, name = architecture.partition("/")
    stem: dict[str, Any] = {} if channels == RGB else {"in_chans": channels}  # not every timm network accepts it
    if library == "timm" and timm.is_model(name):
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, **stem)
    elif library == "torchvision" and name in models.list_models(module=models):
        options = {"init_weights": False, "aux_logits": False} if name in _WITH_AUXILIARY_HEADS else {}
        network = models.get_model(name, weights=None, num_classes=num_classes, **options)
        if channels != RGB:
            _replace_first_convolution(network, channels)
    else:
        raise ModelError(f"There is no network {architecture!r}: use torchvision/<name> or timm/<name>.")
    return network.eval().requires_grad_(requires_grad=False)


def build_to_load(architecture: str, num_classes: int, channels: int = RGB) -> nn.Module:
    """Return the same network with zeros where :func:`build` spends most of its time on random numbers.

    Raises:
        ModelError: There is no such network.
    """
    with _NothingRandom():
        return build(architecture, num_classes, channels)


def _replace_first_convolution(network: nn.Module, channels: int) -> None:
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == RGB:
            owner, _, name = path.rpartition(".")
            options = {option: getattr(module, option) for option in _OF_A_CONVOLUTION}
            made = nn.Conv2d(channels, module.out_channels, bias=module.bias is not None, **options)
            setattr(network.get_submodule(owner), name, made)
            return


class _NothingRandom(TorchFunctionMode):
    """Fills tensors with zeros instead of random numbers."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - what func returns
        named = kwargs or {}
        if func in _RANDOM:
            tensor: Tensor = args[0] if args else named["tensor"]
            return tensor.detach().zero_()
        return func(*args, **named)

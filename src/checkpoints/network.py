"""Architecture name -> network."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import timm
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from src.errors import ModelError

__all__ = ["build", "build_to_load"]

# Their auxiliary heads serve training alone, and often keep other classes; drawing their weights takes minutes.
_WITH_AUXILIARY_HEADS: Final = ("googlenet", "inception_v3")

_RANDOM: Final = {Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_}


def build(architecture: str, num_classes: int) -> nn.Module:
    """Return the network ``torchvision/<name>`` or ``timm/<name>`` with random weights, in eval mode.

    Raises:
        ModelError: There is no such network.
    """
    library, _, name = architecture.partition("/")
    if library == "timm" and timm.is_model(name):
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes)
    elif library == "torchvision" and name in models.list_models(module=models):
        options = {"init_weights": False, "aux_logits": False} if name in _WITH_AUXILIARY_HEADS else {}
        network = models.get_model(name, weights=None, num_classes=num_classes, **options)
    else:
        raise ModelError(f"There is no network {architecture!r}: name one as torchvision/<name> or timm/<name>.")
    return network.eval().requires_grad_(requires_grad=False)


def build_to_load(architecture: str, num_classes: int) -> nn.Module:
    """Return the same network with zeros where :func:`build` draws random numbers, which takes most of its time.

    Raises:
        ModelError: There is no such network.
    """
    with _NothingRandom():
        return build(architecture, num_classes)


class _NothingRandom(TorchFunctionMode):
    """Fills tensors with zeros where they would be filled with random numbers."""

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

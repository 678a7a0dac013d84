"""Architecture name -> network."""

from typing import Final

import timm
from torch import nn
from torchvision import models

from src.errors import ModelError

__all__ = ["build"]

_SLOW_TO_INITIALIZE: Final = ("googlenet", "inception_v3")  # minutes of random numbers that are overwritten anyway


def build(architecture: str, num_classes: int) -> nn.Module:
    """Return the network ``torchvision/<name>`` or ``timm/<name>`` with random weights, in eval mode.

    Raises:
        ModelError: There is no such network.
    """
    library, _, name = architecture.partition("/")
    if library == "timm" and timm.is_model(name):
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes)
    elif library == "torchvision" and name in models.list_models(module=models):
        options = {"init_weights": False} if name in _SLOW_TO_INITIALIZE else {}
        network = models.get_model(name, weights=None, num_classes=num_classes, **options)
    else:
        raise ModelError(f"There is no network {architecture!r}: name one as torchvision/<name> or timm/<name>.")
    return network.eval().requires_grad_(requires_grad=False)

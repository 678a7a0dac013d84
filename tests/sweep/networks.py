"""The networks of the sweep: torchvision's classification networks, and the smallest of each timm family."""

from pathlib import Path
from typing import Final

import torch
from torch import nn
from torchvision import models

from src.checkpoints.network import build

__all__ = ["ALL", "CLASSES", "LARGEST", "REFUSED", "TOO_LARGE", "input_size", "random_network"]

CLASSES: Final = 5

_TORCHVISION: Final = [f"torchvision/{name}" for name in models.list_models(module=models)]
_TIMM: Final = [
    f"timm/{name}" for name in Path(__file__).with_name("timm_architectures.txt").read_text("utf-8").split()
]
ALL: Final = [*_TORCHVISION, *_TIMM]

_SEVERAL_MAPS: Final = "several feature maps side by side"
# Networks that Grad-CAM cannot explain, and why.
REFUSED: Final = {
    "timm/coat_tiny": _SEVERAL_MAPS,  # the logits add up the class tokens of three scales that exchange tokens
    "timm/crossvit_tiny_240": _SEVERAL_MAPS,  # two branches with different patch sizes, each with its own logits
    "timm/efficientvim_m1": _SEVERAL_MAPS,  # the logits add up the hidden states of every stage
}
# Captured, cut and explained, but not stored: converting the first takes 10 GB (its many experts are copied), the
# second more than ten minutes.
TOO_LARGE: Final = {"timm/deepseek_vit_412m", "timm/gemma4_vit_167m"}
# Two of them at a time would take more than 8 GB.
LARGEST: Final = frozenset(
    {
        "timm/deepseek_vit_412m",
        *(f"torchvision/{name}" for name in ("regnet_y_128gf", "vit_h_14", "vit_l_16", "vit_l_32")),
    }
)


def random_network(architecture: str) -> nn.Module:
    """Build a network with seeded weights and without constant tensors, which would hide errors (zeros hide all)."""
    torch.manual_seed(0)
    network = build(architecture, CLASSES)
    for parameter in network.parameters():
        if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network


def input_size(architecture: str, network: nn.Module) -> tuple[int, int]:
    """Return (height, width) of the images that a network takes."""
    if architecture.startswith("timm/"):
        _, height, width = network.default_cfg["input_size"]  # type: ignore[index]
        return int(height), int(width)
    side = 299 if architecture == "torchvision/inception_v3" else 224
    return side, side

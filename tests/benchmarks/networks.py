"""The networks of the benchmark as plain torch modules, without our code around them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from torch import nn
from torchvision import models, transforms
from torchvision.transforms import InterpolationMode

from src.checkpoints.default import default_checkpoint

__all__ = [
    "ALEXNET_WEIGHTS",
    "TORCH_THREADS",
    "Classifier",
    "default_classifier",
    "tutorial_classifier",
    "write_alexnet",
]

ALEXNET_WEIGHTS: Final = "BENCHMARK_ALEXNET_WEIGHTS"
"""Environment variable: the file of ``write_alexnet``; if set, a rival serves AlexNet."""

TORCH_THREADS: Final = "BENCHMARK_TORCH_THREADS"
"""Environment variable: the number of torch threads in each worker of a rival."""

_SEED: Final = 0
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A network with everything needed to serve it.

    ``transform``: RGB image -> float32 (3, 224, 224); ``layer``: the module whose output Grad-CAM uses.
    """

    network: nn.Module
    layer: nn.Module
    transform: Callable[[Image.Image], torch.Tensor]
    labels: tuple[str, ...]


def tutorial_classifier() -> Classifier:
    """Return the classifier for a rival to serve; its weights require gradients, like those of a checkpoint."""
    torch.set_num_threads(int(os.environ[TORCH_THREADS]))  # the package tests sets one thread for the tests
    weights = os.environ.get(ALEXNET_WEIGHTS)
    return _alexnet(Path(weights)) if weights else default_classifier()


def default_classifier() -> Classifier:
    """Return the default network with its transform."""
    checkpoint = default_checkpoint()
    network = checkpoint.network
    transform = transforms.Compose(
        [
            transforms.Resize(256, InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )
    return Classifier(network.requires_grad_(), network.get_submodule("bn2"), transform, checkpoint.labels)


def write_alexnet(file: Path) -> None:
    """Write seeded random weights for the tutorial's AlexNet, two classes; speed does not depend on them."""
    torch.manual_seed(_SEED)
    torch.save(models.alexnet(num_classes=2).state_dict(), file)


def _alexnet(file: Path) -> Classifier:
    network = models.alexnet(num_classes=2)
    network.load_state_dict(torch.load(file, weights_only=True))
    transform = transforms.Compose(
        [
            transforms.Resize((256, 256)),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(_IMAGENET_MEAN, _IMAGENET_STD),
        ]
    )
    return Classifier(network.eval(), network.get_submodule("features.11"), transform, ("bus", "car"))

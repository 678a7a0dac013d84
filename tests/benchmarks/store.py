"""Store networks with ``save_model.py``, as a user would."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from src.checkpoints.network import build
from tests.benchmarks.services import ALEXNET_MODEL, user_environment
from tests.places import ROOT

__all__ = ["NETWORKS", "RandomNetwork", "store_alexnet", "store_default", "store_random"]

NETWORKS: Final = (
    "torchvision/resnet18",
    "timm/mobilenetv3_small_100",
    "timm/tf_efficientnet_lite0",
    "torchvision/resnet50",
    "torchvision/convnext_tiny",
    "torchvision/resnet101",
)
_CLASSES: Final = 1000
_SIZE: Final = 224


@dataclass(frozen=True, slots=True)
class RandomNetwork:
    """A stored network with random weights; ``gflop``: floating-point operations of a forward pass, in 10^9."""

    architecture: str
    model: str
    gflop: float


def store_default() -> None:
    """Store the default network."""
    _save_model()


def store_alexnet(weights: Path) -> None:
    """Store the AlexNet of ``networks.write_alexnet``."""
    labels = ("--labels", "bus,car", "--input", "tutorial")
    _save_model(str(weights), "--arch", "torchvision/alexnet", *labels, "--name", ALEXNET_MODEL)


def store_random(architecture: str, folder: Path) -> RandomNetwork:
    """Store ``architecture`` with seeded random weights, with temporary files in ``folder``."""
    torch.manual_seed(0)
    name = architecture.partition("/")[2].replace("_", "-")
    network = build(architecture, _CLASSES)
    weights, labels = folder / f"{name}.pt", folder / "labels.txt"
    torch.save(network.state_dict(), weights)
    labels.write_text("".join(f"class {index}\n" for index in range(_CLASSES)), encoding="utf-8")
    _save_model(str(weights), "--arch", architecture, "--labels", str(labels), "--name", name)
    weights.unlink()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, _SIZE, _SIZE))
    return RandomNetwork(architecture, name, counter.get_total_flops() / 1e9)


def _save_model(*arguments: str) -> None:
    command = [sys.executable, "save_model.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=user_environment(), check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr}")

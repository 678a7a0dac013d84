"""Randomize the weights of a stored network, to measure how much its heatmaps depend on them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from src.runtimes.base import Runtime
from src.runtimes.select import start
from src.store.files import GRADIENT_PROGRAM, NETWORK_PROGRAM, WEIGHTS
from src.store.manifest import Manifest

__all__ = ["randomized"]


@contextmanager
def randomized(folder: Path, manifest: Manifest) -> Iterator[Runtime]:
    """Run the network in ``folder`` with the values of each tensor shuffled, in torch on the CPU.

    Each tensor keeps its distribution, so variances stay positive, but nothing that was learned remains.
    """
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        for program in (NETWORK_PROGRAM, GRADIENT_PROGRAM):
            shutil.copy(folder / program, scratch)
        with safe_open(folder / WEIGHTS, "pt") as stored:
            tensors = {key: _shuffled(stored.get_tensor(key), generator) for key in stored.keys()}  # noqa: SIM118 - not a mapping
            save_file(tensors, Path(scratch) / WEIGHTS, stored.metadata())
        by_gradient = manifest.model_copy(update={"head": "gradient"})
        yield start(Path(scratch), by_gradient, threads=1, device="cpu", runtime="torch")


def _shuffled(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if not tensor.is_floating_point():  # indices must stay valid
        return tensor
    return tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].reshape(tensor.shape)

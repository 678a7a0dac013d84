"""Compute the features of the frozen layers, the input of the layers that learn, in several threads."""

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

from src.cores import usable_cores
from src.stages.input_spec import InputSpec
from src.training.batches import SeenBatches, Source, VariedBatches
from src.training.classifier import Classifier
from src.training.dataset import LabeledImage

__all__ = ["Feed", "Front", "has_fast_bfloat16", "workers"]

_VALIDATION_BATCH: Final = 32
# AVX-512 suffices: 9 ms of a core per image instead of 27 (AMD Zen 4). Elsewhere bfloat16 is emulated and slower.
_FAST_BFLOAT16: Final = ("amx_bf16", "avx512_bf16")


class Front:
    """The first layers of a network: images (N, C, H, W) -> features; without layers, the images themselves.

    It has a copy of the layers in eval mode, so a thread never sees the network change.

    Args:
        layers: The layers, run in sequence without gradients.
        device: Where they run.
        bfloat16: Whether to compute in bfloat16 where that is accurate enough.
    """

    def __init__(self, layers: Sequence[nn.Module], device: torch.device, *, bfloat16: bool) -> None:
        self._layers = nn.Sequential(*map(copy.deepcopy, layers)).eval().to(device)
        self._device = device
        self._bfloat16 = bfloat16

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of ``images``."""
        images = images.to(self._device, memory_format=torch.channels_last)
        # Both settings are per thread.
        with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            features: torch.Tensor = self._layers(images)
        return features


class Feed:
    """The batches for the layers of ``classifier`` that learn.

    Args:
        classifier: The classifier; its frozen layers are copied.
        spec: Preprocessing of the images.
        pool: The threads that prepare batches, see :func:`workers`.
    """

    def __init__(self, classifier: Classifier, spec: InputSpec, pool: Executor) -> None:
        self._frozen = classifier.frozen_layers()
        self._spec = spec
        self._pool = pool

    def training(self, images: Sequence[LabeledImage], size: int, seed: int, passes: int) -> VariedBatches:
        """Return the training batches, starting after ``passes`` passes over the images."""
        return VariedBatches(self._source(images, size, bfloat16=has_fast_bfloat16()), seed, passes)

    def validation(self, images: Sequence[LabeledImage]) -> SeenBatches:
        """Return the validation batches, in full precision as in the service."""
        return SeenBatches(self._source(images, _VALIDATION_BATCH, bfloat16=False))

    def _source(self, images: Sequence[LabeledImage], size: int, *, bfloat16: bool) -> Source:
        device = torch.device("cuda" if self._frozen and torch.cuda.is_available() else "cpu")
        return Source(images, self._spec, size, Front(self._frozen, device, bfloat16=bfloat16), self._pool)


@contextmanager
def workers(classifier: Classifier) -> Iterator[Executor]:
    """Yield the threads that prepare batches: one per core if there are frozen layers to run.

    Torch then uses no threads of its own: these split each layer and wait for each other at its end, which took four
    times as long while another program occupied one of the cores.
    """
    frozen = bool(classifier.frozen_layers())
    usual = torch.get_num_threads()
    torch.set_num_threads(1 if frozen else usual)
    pool = ThreadPoolExecutor(usable_cores() if frozen else 1, "batches")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # batches are still queued if training was stopped
        torch.set_num_threads(usual)


def has_fast_bfloat16() -> bool:
    """Return whether bfloat16 is faster than float32 on this machine."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in _FAST_BFLOAT16)

"""Features of the frozen layers, computed by several threads: the input of the layers that learn."""

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
from src.training.dataset import LabelledImage

__all__ = ["Feed", "Front", "has_fast_bfloat16", "workers"]

_VALIDATION_BATCH: Final = 32
# Without AMX, too: 9 ms of a core per image instead of 27 (AMD Zen 4). Elsewhere it is emulated and takes longer.
_FAST_BFLOAT16: Final = ("amx_bf16", "avx512_bf16")


class Front:
    """Images (N, C, H, W) -> what the first layers make of them; without layers, the images themselves.

    It has a copy of the layers in evaluation mode, so a thread never sees the network change.

    Args:
        layers: What is run, one after the other, without gradients.
        device: Where it is run.
        bfloat16: Whether to compute in bfloat16 where that is accurate enough.
    """

    def __init__(self, layers: Sequence[nn.Module], device: torch.device, *, bfloat16: bool) -> None:
        self._layers = nn.Sequential(*map(copy.deepcopy, layers)).eval().to(device)
        self._device = device
        self._bfloat16 = bfloat16

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of ``images``."""
        images = images.to(self._device, memory_format=torch.channels_last)
        # Both are settings of the thread that runs this.
        with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            features: torch.Tensor = self._layers(images)
        return features


class Feed:
    """Makes the batches for the layers of ``classifier`` that learn.

    Args:
        classifier: Its frozen layers are copied.
        spec: How images are prepared.
        pool: The threads that prepare batches, see :func:`workers`.
    """

    def __init__(self, classifier: Classifier, spec: InputSpec, pool: Executor) -> None:
        self._frozen = classifier.frozen_layers()
        self._spec = spec
        self._pool = pool

    def training(self, images: Sequence[LabelledImage], size: int, seed: int, passes: int) -> VariedBatches:
        """Return the batches to learn from, starting after ``passes`` passes over the images."""
        return VariedBatches(self._source(images, size, bfloat16=has_fast_bfloat16()), seed, passes)

    def validation(self, images: Sequence[LabelledImage]) -> SeenBatches:
        """Return the batches to judge by, in full precision as the service computes."""
        return SeenBatches(self._source(images, _VALIDATION_BATCH, bfloat16=False))

    def _source(self, images: Sequence[LabelledImage], size: int, *, bfloat16: bool) -> Source:
        device = torch.device("cuda" if self._frozen and torch.cuda.is_available() else "cpu")
        return Source(images, self._spec, size, Front(self._frozen, device, bfloat16=bfloat16), self._pool)


@contextmanager
def workers(classifier: Classifier) -> Iterator[Executor]:
    """Yield the threads that prepare batches: one for each core where they run frozen layers.

    Torch then uses no threads of its own. Those share a layer and wait for each other at its end, and while another
    program has one of the cores they wait by computing nothing: that took four times as long.
    """
    frozen = bool(classifier.frozen_layers())
    usual = torch.get_num_threads()
    torch.set_num_threads(1 if frozen else usual)
    pool = ThreadPoolExecutor(usable_cores() if frozen else 1, "batches")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # there is more to come where the training was stopped
        torch.set_num_threads(usual)


def has_fast_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in _FAST_BFLOAT16)

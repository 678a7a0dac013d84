"""Batches for the layers that learn, prepared by other threads while these layers learn."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from src.stages.decoded_image import DecodedImage
from src.stages.input_spec import InputSpec
from src.stages.transform import transform
from src.training.augmentation import vary
from src.training.dataset import LabeledImage

__all__ = ["Batch", "SeenBatches", "Source", "VariedBatches"]

Batch = tuple[torch.Tensor, torch.Tensor]

# Images that a thread processes at once. For 32, the output of a layer is so large that its memory is allocated and
# freed each time, which takes twice the time per image.
_PIECE: Final = 8


@dataclass(frozen=True, slots=True)
class Source:
    """The images of the batches, and how to prepare them.

    Args:
        images: The images.
        spec: Their preprocessing.
        size: Images per batch.
        front: Images float32 (N, C, H, W) -> their features in a batch; called by several threads.
        pool: The threads that prepare batches.
    """

    images: Sequence[LabeledImage]
    spec: InputSpec
    size: int
    front: Callable[[torch.Tensor], torch.Tensor]
    pool: Executor


class SeenBatches:
    """Batches of the images in order, preprocessed as in the service, with their labels, int64 (N,) or float32 (N, C).

    They are the same each time, so they are computed once and kept.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: list[Batch] = []

    def __len__(self) -> int:
        return math.ceil(len(self._source.images) / self._source.size)

    def __iter__(self) -> Iterator[Batch]:
        if not self._kept:
            size, members = self._source.size, range(len(self._source.images))
            orders = [members[start : start + size] for start in members[::size]]
            self._kept = list(_prepared(self._source, orders, None))
        return iter(self._kept)


class VariedBatches:
    """Batches of the images, shuffled and augmented anew each time, with their labels, int64 (N,) or float32 (N, C).

    An incomplete last batch is dropped, since a batch norm cannot learn from a single image.
    """

    def __init__(self, source: Source, seed: int, passes: int = 0) -> None:
        """Start after ``passes`` passes over the images; each pass is random, determined by ``seed`` and its number."""
        self._source = source
        self._seed = seed
        self._passes = passes

    def __len__(self) -> int:
        return max(1, len(self._source.images) // self._source.size)

    def __iter__(self) -> Iterator[Batch]:
        chance = self._seed, self._passes
        self._passes += 1
        order = np.random.default_rng(chance).permutation(len(self._source.images)).tolist()
        size = self._source.size
        yield from _prepared(self._source, [order[size * batch :][:size] for batch in range(len(self))], chance)


def _prepared(source: Source, orders: Sequence[Sequence[int]], chance: tuple[int, int] | None) -> Iterator[Batch]:
    """Yield a batch of the images in each of ``orders``, while the next one is being prepared."""
    coming: deque[list[Future[Batch]]] = deque()
    for order in orders:
        pieces = [order[start : start + _PIECE] for start in range(0, len(order), _PIECE)]
        coming.append([source.pool.submit(_piece, source, piece, chance) for piece in pieces])
        if len(coming) > 1:
            yield _joined(coming.popleft())
    while coming:
        yield _joined(coming.popleft())


def _joined(pieces: Sequence[Future[Batch]]) -> Batch:
    features, labels = zip(*(piece.result() for piece in pieces), strict=True)
    return torch.cat(features), torch.cat(labels)


def _piece(source: Source, members: Sequence[int], chance: tuple[int, int] | None) -> Batch:
    inputs = np.stack([source.spec.normalize(_pixels(source, member, chance)) for member in members])
    return source.front(torch.from_numpy(inputs)), torch.tensor([source.images[member].label for member in members])


def _pixels(source: Source, member: int, chance: tuple[int, int] | None) -> NDArray[np.uint8]:
    raster = source.images[member].raster
    if chance is None:
        return transform(DecodedImage(raster, *raster.size), source.spec).pixels
    # Seeded with the image's own number, so that the order of the threads does not matter.
    varied = np.asarray(vary(raster, source.spec, np.random.default_rng((*chance, member))))
    return varied.reshape(*varied.shape[:2], source.spec.channels)

"""Batches prepared by threads."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.stages.decoded_image import DecodedImage
from src.stages.input_spec import InputSpec
from src.stages.transform import transform
from src.training.batches import Batch, SeenBatches, Source, VariedBatches
from src.training.dataset import LabeledImage

SPEC = InputSpec(resize=40, crop=(32, 32), interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture
def photos(rng: np.random.Generator) -> list[LabeledImage]:
    """Forty-three noise images, each with its own class."""
    noise = rng.integers(0, 256, (43, 40, 50, 3), dtype=np.uint8)
    return [
        LabeledImage(Path(str(label)), label, Image.fromarray(pixels), str(label), b"")
        for label, pixels in enumerate(noise)
    ]


@pytest.fixture
def pool() -> Iterator[Executor]:
    """Three threads."""
    with ThreadPoolExecutor(3) as threads:
        yield threads


def source(photos: list[LabeledImage], pool: Executor, size: int = 20) -> Source:
    """A source whose batches hold the images themselves."""
    return Source(photos, SPEC, size, lambda images: images, pool)


def counted(calls: list[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A front that records how many images it received."""

    def front(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return images

    return front


def equal(first: list[Batch], second: list[Batch]) -> bool:
    """Whether all batches are equal, bit for bit."""
    pairs = zip(first, second, strict=True)
    return all(torch.equal(*parts) for one, other in pairs for parts in zip(one, other, strict=True))


def test_validation_images_are_preprocessed_as_in_the_service(photos: list[LabeledImage], pool: Executor) -> None:
    """All images come in order, bit for bit as the stages of the service prepare them."""
    batches = SeenBatches(source(photos, pool))
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert [len(part) for _, part in batches] == [20, 20, 3]
    assert len(batches) == 3
    assert labels.tolist() == list(range(43))
    served = [SPEC.normalize(transform(DecodedImage(photo.raster, 50, 40), SPEC).pixels) for photo in photos]
    assert np.array_equal(images, np.stack(served))


def test_validation_images_are_prepared_once(photos: list[LabeledImage], pool: Executor) -> None:
    """A second pass gives the same tensors without computing them again."""
    calls: list[int] = []
    batches = SeenBatches(Source(photos, SPEC, 20, counted(calls), pool))
    first, again = list(batches), list(batches)
    assert len(calls) == 3 + 3 + 1
    assert all(one is other for one, other in zip(first, again, strict=True))


def test_training_images_are_shuffled_and_augmented(photos: list[LabeledImage], pool: Executor) -> None:
    """Each pass has full batches of different images, in another order and augmented differently."""
    batches = VariedBatches(source(photos, pool), seed=0)
    passes = [list(batches), list(batches)]
    assert len(batches) == 2
    for batch in passes:
        assert [images.shape for images, _ in batch] == [(20, 3, 32, 32)] * 2
        labels = torch.cat([part for _, part in batch]).tolist()
        assert len(set(labels)) == 40
        assert labels != sorted(labels)
    assert not equal(*passes)


def test_fewer_images_than_a_batch_form_one_batch(photos: list[LabeledImage], pool: Executor) -> None:
    """Three images are enough for a smaller batch."""
    ((images, _),) = VariedBatches(source(photos[:3], pool), seed=0)
    assert len(images) == 3


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_randomness_depends_on_the_seed_alone(photos: list[LabeledImage], pool: Executor, threads: int) -> None:
    """The same seed gives the same batches with any number of threads, in every pass; another seed does not."""
    with ThreadPoolExecutor(threads) as others:
        batches = VariedBatches(source(photos, others), seed=7)
        first, second = list(batches), list(batches)
    assert equal(first, list(VariedBatches(source(photos, pool), seed=7)))
    assert equal(second, list(VariedBatches(source(photos, pool), seed=7, passes=1)))
    assert not equal(first, list(VariedBatches(source(photos, pool), seed=8)))


def test_one_batch_is_prepared_ahead(photos: list[LabeledImage], pool: Executor) -> None:
    """While the first batch is in use, the second one is computed, but not the third one."""
    calls: list[int] = []
    batches = iter(VariedBatches(Source(photos, SPEC, 8, counted(calls), pool), seed=0))
    next(batches)
    deadline = time.monotonic() + 10
    while len(calls) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(calls) == 2


def test_an_error_in_a_thread_is_raised(photos: list[LabeledImage], pool: Executor) -> None:
    """An exception while a batch is being prepared is raised where the batch is requested."""

    def fail(images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(f"no images, but {len(images)}")

    with pytest.raises(RuntimeError, match="no images"):
        list(VariedBatches(Source(photos, SPEC, 8, fail, pool), seed=0))

"""Batches of the images of several threads."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset15 as ops
import pytest
from numpy.typing import NDArray

from src.conversion.batch import best_batch
from src.runtimes.base import Runtime
from src.runtimes.batches import Batching, batched
from src.runtimes.openvino import OpenVinoGraphs
from src.stages.features import FeatureLayout
from src.stages.input_spec import InputSpec
from src.store.files import GRADIENT, NETWORK

LAYOUT = FeatureLayout(axes="NKhw", channels=1, height=1, width=1)
MOST = 4
POISON = 13  # an image that the network cannot take


class Sums:
    """A network whose logits are the first pixel of each image and its double; it runs when released."""

    name: Final = "openvino"
    precision = "fp32"
    device = "cpu"

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.free = threading.Event()
        self.begun = threading.Semaphore(0)

    def network(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Record the batch size, wait to be released, and fail if the poisoned image is in the batch."""
        self.sizes.append(len(pixels))
        self.begun.release()
        assert self.free.wait(10)
        if POISON in pixels:
            raise FloatingPointError("not this one")
        first = pixels[:, 0, 0, :1].astype(np.float32)
        return first[:, :, None, None], np.hstack((first, 2 * first))

    def gradient(self, features: NDArray[np.float32], direction: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features, weighted by the direction."""
        times: NDArray[np.float32] = direction.sum(axis=1)[:, None, None, None]
        return features * times


def _evaluate(runtime: Runtime, value: int) -> list[float]:
    found: list[float] = runtime.evaluate(np.full((2, 2, 3), value, np.uint8)).logits.tolist()
    return found


def _ask(runtime: Runtime, values: list[int], graphs: Sums) -> list[list[float] | FloatingPointError]:
    """Evaluate the first of ``values``, and all others while it runs; return the answers in order."""

    def one(value: int) -> list[float] | FloatingPointError:
        try:
            return _evaluate(runtime, value)
        except FloatingPointError as exc:
            return exc

    with ThreadPoolExecutor(len(values)) as pool:
        first = pool.submit(one, values[0])
        assert graphs.begun.acquire(timeout=10)
        others = [pool.submit(one, value) for value in values[1:]]
        while len(_waiting(runtime)) < len(others):
            pass
        graphs.free.set()
        return [future.result(10) for future in (first, *others)]


def _waiting(runtime: Runtime) -> list[object]:
    waiting: list[object] = runtime.graphs.network._waiting  # type: ignore[attr-defined]
    return waiting


def test_images_that_arrive_while_the_network_is_busy_are_batched() -> None:
    """The first image runs alone; those that arrive meanwhile form batches of limited size, in order."""
    graphs = Sums()
    answers = _ask(batched(Runtime(graphs, LAYOUT), Batching(MOST), 1), list(range(1, 8)), graphs)
    assert answers == [[value, 2 * value] for value in range(1, 8)]
    assert graphs.sizes == [1, MOST, 2]


def test_an_image_that_fails_does_not_fail_its_batch() -> None:
    """Only the faulty image gets the error; the others of its batch are answered."""
    graphs = Sums()
    answers = _ask(batched(Runtime(graphs, LAYOUT), Batching(MOST), 1), [1, 2, POISON, 3], graphs)
    assert [answer for answer in answers if not isinstance(answer, Exception)] == [[1, 2], [2, 4], [3, 6]]
    assert isinstance(answers[2], FloatingPointError)


def test_an_image_that_is_no_longer_wanted_leaves_its_batch() -> None:
    """If its client leaves while it waits, its thread gets the error, and the network runs for the others alone."""
    graphs, gone = Sums(), threading.Event()
    of_thread = threading.local()

    def check() -> None:
        if gone.is_set():
            raise TimeoutError("nobody waits")

    def one(value: int, wanted: Callable[[], None]) -> list[float]:
        of_thread.check = wanted
        return _evaluate(runtime, value)

    runtime = batched(Runtime(graphs, LAYOUT), Batching(MOST, check=lambda: of_thread.check), 1)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(one, 1, lambda: None)
        assert graphs.begun.acquire(timeout=10)
        others = [pool.submit(one, 2, check), pool.submit(one, 3, lambda: None)]
        while len(_waiting(runtime)) < len(others):
            pass
        gone.set()
        graphs.free.set()
        assert first.result(10) == [1, 2]
        with pytest.raises(TimeoutError, match="nobody waits"):
            others[0].result(10)
        assert others[1].result(10) == [3, 6]
    assert graphs.sizes == [1, 1]


def test_no_image_waits_while_a_stream_is_free() -> None:
    """As many images as streams run at the same time, each alone, even if a batch may wait."""
    graphs = Sums()
    runtime = batched(Runtime(graphs, LAYOUT), Batching(MOST, seconds=60, busy=lambda: False), 2)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(_evaluate, runtime, value) for value in (1, 2)]
        assert graphs.begun.acquire(timeout=10)
        assert graphs.begun.acquire(timeout=10)
        graphs.free.set()
        assert [future.result(10) for future in futures] == [[1, 2], [2, 4]]
    assert graphs.sizes == [1, 1]


def test_a_batch_with_room_waits_while_no_core_is_idle() -> None:
    """If allowed, the first image waits for others while they are being processed, and is batched with them."""
    graphs = Sums()
    graphs.free.set()
    together = threading.Barrier(MOST)
    runtime = batched(Runtime(graphs, LAYOUT), Batching(MOST, seconds=60, busy=lambda: True), 1)

    def one(value: int) -> list[float]:
        together.wait(10)
        return _evaluate(runtime, value)

    with ThreadPoolExecutor(MOST) as pool:
        assert list(pool.map(one, range(1, MOST + 1))) == [[value, 2 * value] for value in range(1, MOST + 1)]
    assert graphs.sizes == [MOST]


def test_a_batch_with_room_stops_waiting_when_a_core_becomes_idle() -> None:
    """The image that waits for others runs as soon as a core is idle, although no other image has come."""
    graphs = Sums()
    graphs.free.set()
    busy = iter([True, True])
    runtime = batched(Runtime(graphs, LAYOUT), Batching(MOST, seconds=5, busy=lambda: next(busy, False)), 1)
    began = time.monotonic()
    assert _evaluate(runtime, 1) == [1, 2]
    assert time.monotonic() - began < 2


def test_a_waiting_thread_frees_its_place() -> None:
    """Its place is free while it waits for the network's answer."""
    inside: list[int] = []

    @contextmanager
    def aside() -> Iterator[None]:
        inside.append(len(graphs.sizes))
        yield
        inside.append(len(graphs.sizes))

    graphs = Sums()
    graphs.free.set()
    _evaluate(batched(Runtime(graphs, LAYOUT), Batching(MOST, aside=aside), 1), 1)
    assert inside == [0, 1]


def test_many_threads_get_their_own_answers() -> None:
    """Whichever thread runs a batch, each image gets its logits and the gradient of its own score."""
    graphs = Sums()
    graphs.free.set()
    runtime = batched(Runtime(graphs, LAYOUT, closed_form=lambda direction: direction[:, :1]), Batching(MOST), 2)

    def one(value: int) -> tuple[list[float], float, float]:
        evaluation = runtime.evaluate(np.full((2, 2, 3), value, np.uint8))
        index = value % 2
        return (
            evaluation.logits.tolist(),
            float(evaluation.gradient(index)[0, 0, 0]),
            float(evaluation.weights(index)[0]),
        )

    values = [value for value in range(200) if value != POISON]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(one, values))
    assert answers == [([value, 2 * value], value, 1 - value % 2) for value in values]
    assert max(graphs.sizes) <= MOST


@pytest.mark.parametrize(("units", "expected"), [(8, 1), (4_000, 8)])
def test_batching_is_enabled_if_measured_to_be_faster(tmp_path: Path, units: int, expected: int) -> None:
    """A network that reads 110 MB of weights per image is faster with batches of eight; a small one is not tried."""
    spec = InputSpec(resize=48, crop=(48, 48), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    pixels = ops.parameter([-1, 48, 48, 3], np.uint8)
    flat = ops.reshape(ops.convert(pixels, np.float32), [0, 48 * 48 * 3], special_zero=True)
    weights = np.random.default_rng(0).normal(size=(units, 48 * 48 * 3)).astype(np.float32)
    logits = ops.matmul(flat, weights, transpose_a=False, transpose_b=True)
    ov.save_model(ov.Model([flat, logits], [pixels]), tmp_path / NETWORK, compress_to_fp16=False)
    features, direction = (ops.parameter([-1, size], np.float32) for size in (48 * 48 * 3, units))
    gradient = ops.multiply(features, ops.reduce_sum(direction, 1, keep_dims=True))
    ov.save_model(ov.Model([gradient], [features, direction]), tmp_path / GRADIENT)
    running = OpenVinoGraphs(tmp_path, "fp32", 1)
    running.network(np.zeros((1, 48, 48, 3), np.uint8))
    assert best_batch(tmp_path, spec, running) == expected

"""Measure the limits: OpenVINO alone with the networks, and Pillow alone with the JPEG files."""

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Self

import numpy as np
import openvino as ov
import torch
from PIL import Image
from torch import nn

from src.cores import usable_cores
from tests.benchmarks.networks import default_classifier
from tests.benchmarks.photos import PhotoSet

__all__ = ["WAYS", "Engine", "decode_milliseconds", "decoded_per_second"]

WAYS: Final = {
    "whole": None,
    "reduced for the network": (512, 512),  # twice the 256 pixels that its shorter side is resized to
    "reduced for the returned image": (1024, 1024),
}
"""The decoded size of a JPEG file: in full, or reduced by DCT scaling to no less than this many pixels."""

_SIZE: Final = 224
_WARM: Final = 3


@dataclass(frozen=True, slots=True)
class Engine:
    """A network in OpenVINO, fp32, for batches of any size."""

    model: ov.Model

    @classmethod
    def of_backbone(cls) -> Self:
        """Convert the backbone of the default network."""
        return cls.convert(_Backbone(default_classifier().network))

    @classmethod
    def convert(cls, network: nn.Module) -> Self:
        """Convert a torch network."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # OpenVINO uses a deprecated feature of torch
            return cls(ov.convert_model(network, example_input=torch.zeros(1, 3, _SIZE, _SIZE)))

    def per_second(self, batch: int, seconds: float) -> float:
        """Return the images per second, with one stream per core and all streams busy."""
        compiled = self._compiled(batch, usable_cores(), usable_cores())
        queue = ov.AsyncInferQueue(compiled, 2 * usable_cores())
        images = {0: _noise(batch)}
        for _ in range(_WARM * len(queue)):
            queue.start_async(images)
        queue.wait_all()
        began = time.perf_counter()
        batches = 0
        while time.perf_counter() - began < seconds:
            queue.start_async(images)
            batches += 1
        queue.wait_all()
        return batch * batches / (time.perf_counter() - began)

    def milliseconds(self, seconds: float) -> float:
        """Return the median time of one image on one core."""
        request = self._compiled(1, 1, 1).create_infer_request()
        image = _noise(1)
        return _median_milliseconds(lambda: request.infer({0: image}), seconds)

    def _compiled(self, batch: int, streams: int, threads: int) -> Any:
        self.model.reshape([batch, 3, _SIZE, _SIZE])
        options = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        return ov.Core().compile_model(self.model, "CPU", options)


class _Backbone(nn.Module):
    """The layers of a timm network up to its last feature map."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last feature map."""
        features: torch.Tensor = self.network.forward_features(images)  # type: ignore[operator] # timm's method
        return features


def decode_milliseconds(photos: PhotoSet, way: str, seconds: float) -> float:
    """Return the median time of decoding a file of ``photos`` on one core."""
    files = _cycle(photos)
    return _median_milliseconds(lambda: _decode(next(files), WAYS[way]), seconds)


def decoded_per_second(photos: PhotoSet, way: str, seconds: float) -> float:
    """Return how many files of ``photos`` all cores together decode per second."""
    cores = usable_cores()
    with ThreadPoolExecutor(cores) as pool:
        began = time.perf_counter()
        counts = list(pool.map(lambda _: _count_decoded(photos, way, began + seconds), range(cores)))
        return sum(counts) / (time.perf_counter() - began)


def _count_decoded(photos: PhotoSet, way: str, deadline: float) -> int:
    count = 0
    for file in _cycle(photos):
        _decode(file, WAYS[way])
        count += 1
        if time.perf_counter() > deadline:
            break
    return count


def _cycle(photos: PhotoSet) -> Iterator[bytes]:
    while True:
        yield from photos.files


def _decode(file: bytes, at_least: tuple[int, int] | None) -> None:
    with Image.open(BytesIO(file)) as image:
        if at_least is not None:
            image.draft("RGB", at_least)
        image.load()


def _median_milliseconds(work: Callable[[], object], seconds: float) -> float:
    for _ in range(_WARM):
        work()
    return 1000 * float(np.median(list(_timed(work, seconds))))


def _timed(work: Callable[[], object], seconds: float) -> Iterator[float]:
    ends = time.perf_counter() + seconds
    while (began := time.perf_counter()) < ends:
        work()
        yield time.perf_counter() - began


def _noise(batch: int) -> Any:
    return np.random.default_rng(0).standard_normal((batch, 3, _SIZE, _SIZE), dtype=np.float32)

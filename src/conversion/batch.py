"""Measure how many images a network should process at once, on the machine that stores it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np

from src.cores import usable_cores
from src.runtimes.base import Graphs
from src.runtimes.openvino import OpenVinoGraphs
from src.stages.input_spec import InputSpec

__all__ = ["best_batch"]

_BATCH: Final = 8
_GAIN: Final = 1.25  # in speed: a smaller one is not worth the wait
_LEAST_SECONDS: Final = 0.002  # per image: a faster network is not the bottleneck
_MOST_SECONDS: Final = 0.5  # per image: a slower network spends its time on arithmetic, not on reading weights
_TRIES: Final = 3


def best_batch(folder: Path, spec: InputSpec, running: Graphs) -> int:
    """Return 8 if OpenVINO is at least 25 % faster with batches of eight while every core is busy, else 1.

    That is so if reading the weights takes longer than the arithmetic, as in AlexNet and VGG. A network that takes
    ``running`` less than 2 ms or more than half a second per image is not measured.
    """
    if not _LEAST_SECONDS < _seconds(running, spec, 1, 1) < _MOST_SECONDS:
        return 1
    cores = usable_cores()
    single = OpenVinoGraphs(folder, "fp32", cores)
    together = OpenVinoGraphs(folder, "fp32", cores, _BATCH)
    gains = (_seconds(single, spec, 1, cores) / _seconds(together, spec, _BATCH, cores) for _ in range(_TRIES))
    return _BATCH if all(gain >= _GAIN for gain in gains) else 1  # all() stops at the first failure


def _seconds(graphs: Graphs, spec: InputSpec, batch: int, cores: int) -> float:
    """Return the seconds per image if ``cores`` threads run eight each, in batches of ``batch``."""
    channels, height, width = spec.shape
    images = np.zeros((batch, height, width, channels), np.uint8)

    def run(times: int) -> None:
        for _ in range(times):
            graphs.network(images)

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(run, [1] * cores))
        began = perf_counter()
        list(pool.map(run, [_BATCH // batch] * cores))
        return (perf_counter() - began) / _BATCH / cores

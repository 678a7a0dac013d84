"""How many images a stored network had better take at once: measured where it is stored."""

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
_GAIN: Final = 1.25  # of the speed: less is not worth the wait
_LEAST_SECONDS: Final = 0.002  # for an image: below that, what surrounds the network takes longer anyway
_MOST_SECONDS: Final = 0.5  # above that it is arithmetic that takes the time, not reading the weights
_TRIES: Final = 3


def best_batch(folder: Path, spec: InputSpec, running: Graphs) -> int:
    """Return 8 where OpenVINO is faster by a quarter with eight images at once, while every core runs them; else 1.

    That is so where reading the weights takes longer than the arithmetic: see AlexNet and VGG. A network that
    ``running`` takes less than 2 ms or more than half a second for is not tried.
    """
    if not _LEAST_SECONDS < _seconds(running, spec, 1, 1) < _MOST_SECONDS:
        return 1
    cores = usable_cores()
    single = OpenVinoGraphs(folder, "fp32", cores)
    together = OpenVinoGraphs(folder, "fp32", cores, _BATCH)
    gains = (_seconds(single, spec, 1, cores) / _seconds(together, spec, _BATCH, cores) for _ in range(_TRIES))
    return _BATCH if all(gain >= _GAIN for gain in gains) else 1  # which ends with the first that is not


def _seconds(graphs: Graphs, spec: InputSpec, batch: int, cores: int) -> float:
    """Return the seconds for an image where ``cores`` threads run eight each, in batches of ``batch``."""
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

"""The graphs of a stored network in OpenVINO on the CPU."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from src.cores import usable_cores
from src.priority import Priority, give_way
from src.runtimes.base import Array, Precision
from src.store.files import GRADIENT, NETWORK

__all__ = ["OpenVinoGraphs"]

_HINTS: Final = {"fp32": "f32", "bf16": "bf16"}
_NAMES: Final = {hint: name for name, hint in _HINTS.items()}


class OpenVinoGraphs:
    """Two compiled graphs for up to ``batch`` images, for concurrent use by ``threads`` threads.

    The threads share all cores, or ``cores``. The gradient is compiled on first use: a network with a closed form may
    never need it.
    """

    name: Final = "openvino"
    device: Final = "cpu"

    def __init__(
        self, folder: Path, precision: Precision, threads: int, batch: int = 1, cores: int | None = None
    ) -> None:
        self._network = _Compiled(folder / NETWORK, precision, threads, batch, cores)
        self._gradient: _Compiled | None = None
        self._compiling = threading.Lock()
        self._compile_gradient = partial(_Compiled, folder / GRADIENT, "fp32", threads, batch, cores)
        self.precision = self._network.precision

    def network(self, pixels: NDArray[np.uint8]) -> tuple[Array, ...]:
        """Run the network."""
        return self._network(pixels)

    def gradient(self, features: Array, direction: Array) -> Array:
        """Run the backward pass of its head."""
        with self._compiling:
            self._gradient = self._gradient or self._compile_gradient()
        (gradient,) = self._gradient(features, direction)
        return gradient


class _Compiled:
    """A compiled graph, with an infer request for each thread that uses it.

    Some graphs do not compile for batches (a bug in OpenVINO's channel shuffles): they take images one by one.
    """

    def __init__(self, file: Path, precision: Precision, threads: int, batch: int, cores: int | None) -> None:
        cores = cores or usable_cores()
        options = {
            "INFERENCE_NUM_THREADS": str(cores),
            "NUM_STREAMS": str(min(threads, cores)),
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "ENABLE_CPU_PINNING": "NO",  # the threads that decode images use the same cores
        }
        # In a low-priority thread, because the threads of the network inherit the priority of the one that compiles it.
        with ThreadPoolExecutor(1, initializer=give_way, initargs=(Priority.NETWORK,)) as patient:
            try:
                self._model, self._most = patient.submit(_compile, file, batch, options).result(), batch
            except RuntimeError:
                self._model, self._most = patient.submit(_compile, file, 1, options).result(), 1
        self._of_thread = threading.local()
        hint = self._model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision = _NAMES.get(hint, hint)

    def __call__(self, *inputs: NDArray[np.generic]) -> tuple[Array, ...]:
        count, most = len(inputs[0]), self._most
        if count <= most:
            return self._run(inputs)
        parts = [self._run([value[at : at + most] for value in inputs]) for at in range(0, count, most)]
        return tuple(map(np.concatenate, zip(*parts, strict=True)))

    def _run(self, inputs: Sequence[NDArray[np.generic]]) -> tuple[Array, ...]:
        request = self._request()
        for tensor, value in zip(request.input_tensors, inputs, strict=True):
            tensor.shape = value.shape
            tensor.data[:] = value
        request.infer()
        return tuple(tensor.data.copy() for tensor in request.output_tensors)  # the next image overwrites them

    def _request(self) -> ov.InferRequest:
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._model.create_infer_request()
        request: ov.InferRequest = self._of_thread.request
        return request


def _compile(file: Path, batch: int, options: Mapping[str, str]) -> ov.CompiledModel:
    core = ov.Core()
    model = core.read_model(file)
    # A graph for one image is faster, by 6 % for small networks.
    images = 1 if batch == 1 else ov.Dimension(1, batch)
    model.reshape({port: [images, *port.partial_shape[1:]] for port in model.inputs})
    return core.compile_model(model, "CPU", options)

"""A stored network in OpenVINO on the CPU."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from src.cores import usable_cores
from src.model.closed_form import ClosedForm
from src.model.files import CLOSED_FORM, COMPILED
from src.model.manifest import Manifest
from src.model.runtime import Evaluation, Precision
from src.priority import Priority, give_way

if TYPE_CHECKING:  # seconds to import; only heads without a closed form need it
    from src.model.torch_runtime import TorchHead

__all__ = ["OpenVinoRuntime"]

_HINTS: Final = {"fp32": "f32", "bf16": "bf16"}
_NAMES: Final = {hint: name for name, hint in _HINTS.items()}


@dataclass(frozen=True, slots=True)
class _ClosedEvaluation:
    """An evaluation whose Grad-CAM weights have a closed form; ``hidden`` are the activations in the head."""

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    hidden: tuple[NDArray[np.float32], ...]
    form: ClosedForm

    def weights(self, class_index: int) -> NDArray[np.float32]:
        """Return the Grad-CAM weight (K,) of each map."""
        _, height, width = self.features.shape
        return self.form.weights(class_index, self.hidden, height * width)


class OpenVinoRuntime:
    """One compiled network, with an infer request for each thread that uses it."""

    name: Final = "openvino"
    device: Final = "cpu"

    def __init__(self, compiled: ov.CompiledModel, head: "ClosedForm | TorchHead") -> None:
        self._compiled = compiled
        self._head = head
        self._of_thread = threading.local()
        hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision = _NAMES.get(hint, hint)

    @classmethod
    def start(cls, folder: Path, manifest: Manifest, precision: Precision, threads: int) -> Self:
        """Compile the network in ``folder`` for use by ``threads`` threads at once, which share out the cores."""
        cores = usable_cores()
        options = {
            "INFERENCE_NUM_THREADS": str(cores),
            "NUM_STREAMS": str(min(threads, cores)),
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "ENABLE_CPU_PINNING": "NO",  # the threads that decode pictures use the same cores
        }
        compiled = _compile(folder / COMPILED, options)
        if manifest.head == "closed_form":
            return cls(compiled, ClosedForm.load(folder / CLOSED_FORM))
        from src.model.restore import restore  # noqa: PLC0415 - seconds
        from src.model.torch_runtime import TorchHead  # noqa: PLC0415 - seconds

        return cls(compiled, TorchHead.start(restore(folder, manifest).head, "cpu", threads))

    def evaluate(self, pixels: NDArray[np.uint8], *, explained: bool) -> Evaluation:
        """Run the network on ``pixels`` (H, W, 3)."""
        request = self._request()
        request.get_input_tensor().data[0] = pixels
        request.infer()
        # The next picture of this thread is written over these.
        features, *others = (output.data.copy() for output in request.output_tensors)
        if not isinstance(self._head, ClosedForm):
            return self._head.evaluate(features, explained=explained)
        *hidden, logits = (output[0] for output in others)
        return _ClosedEvaluation(features[0], logits, tuple(hidden), self._head)

    def _request(self) -> ov.InferRequest:
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        request: ov.InferRequest = self._of_thread.request
        return request


def _compile(file: Path, options: dict[str, str]) -> ov.CompiledModel:
    """Compile the network in ``file`` in a thread that gives way: the threads of the network are as patient as that."""
    with ThreadPoolExecutor(1, initializer=give_way, initargs=(Priority.NETWORK,)) as patient:
        return patient.submit(ov.Core().compile_model, file, "CPU", options).result()

"""A stored network, running: pixels -> features, logits, and the Grad-CAM weights of any class."""

import logging
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from src.errors import ModelError
from src.model.manifest import Engine, Manifest

__all__ = ["Device", "Evaluation", "Precision", "Runtime", "RuntimeChoice", "choose", "start"]

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
RuntimeChoice = Literal["auto", "openvino", "torch"]

_NVIDIA: Final = ("/dev/nvidiactl", "/dev/dxg")  # Linux, and Linux under Windows


class Evaluation(Protocol):
    """What a network makes of one picture."""

    @property
    def features(self) -> NDArray[np.float32]:
        """The feature maps A (K, h, w) of the Grad-CAM layer."""

    @property
    def logits(self) -> NDArray[np.float32]:
        """The scores y (C,) before softmax."""

    def weights(self, class_index: int) -> NDArray[np.float32]:
        """Return the Grad-CAM weight (K,) of each map for a class: the mean of dy/dA_k over all positions."""


class Runtime(Protocol):
    """A network on the device where it runs; safe to use from several threads at once."""

    @property
    def name(self) -> Literal["openvino", "torch"]:
        """What runs the backbone."""

    @property
    def precision(self) -> str:
        """In what numbers the backbone computes, fp32 or bf16."""

    @property
    def device(self) -> str:
        """Where, cpu or cuda."""

    def evaluate(self, pixels: NDArray[np.uint8], *, explained: bool) -> Evaluation:
        """Run the network on ``pixels`` (H, W, 3), RGB, its input size; only ``explained`` ones have weights."""


def start(  # noqa: PLR0913 - the settings that decide about it
    folder: Path,
    manifest: Manifest,
    *,
    threads: int,
    device: Device = "auto",
    runtime: RuntimeChoice = "auto",
    precision: Precision = "fp32",
) -> Runtime:
    """Make the network in ``folder`` ready for use by ``threads`` threads at once, which share out the cores.

    On a CPU it runs in OpenVINO where it was converted, else in torch; on a CUDA GPU, which ``auto`` takes where there
    is one, in torch.

    Raises:
        ModelError: There is no GPU, or the network does not run in OpenVINO, but was to.
    """
    engine, target = choose(manifest, device, runtime)
    if engine == "torch":
        from src.model.torch_runtime import TorchRuntime  # noqa: PLC0415 - seconds that OpenVINO does not need

        running: Runtime = TorchRuntime.start(folder, manifest, target, precision, threads)
    else:
        from src.model.openvino_runtime import OpenVinoRuntime  # noqa: PLC0415 - nor does torch need OpenVINO

        running = OpenVinoRuntime.start(folder, manifest, precision, threads)
    _warm_up(running, manifest)
    reason = f" ({manifest.note})" if running.name == "torch" and manifest.note else ""
    logger.info("The network runs in %s on %s, %s%s.", running.name, running.device, running.precision, reason)
    return running


def _warm_up(running: Runtime, manifest: Manifest) -> None:
    """Run a black picture: the first one is slow, and must not be two at once.

    OpenVINO's bindings fill a table at their first use and let other threads run meanwhile; a second thread that comes
    to that table then waits for it without letting the first one go on, and the whole process hangs for good.
    """
    evaluation = running.evaluate(np.zeros((*manifest.input.crop, 3), np.uint8), explained=True)
    evaluation.weights(0)


def choose(manifest: Manifest, device: Device, runtime: RuntimeChoice) -> tuple[Engine, Literal["cpu", "cuda"]]:
    """Return what runs the network of ``manifest``, and where.

    Raises:
        ModelError: There is no GPU, or the network does not run in OpenVINO, but was to.
    """
    on_gpu = _on_gpu(device)
    if runtime == "openvino" and (on_gpu or manifest.engine != "openvino"):
        why = "OpenVINO runs on the CPU here" if on_gpu else manifest.note.removesuffix(".")
        raise ModelError(f"The network cannot run in OpenVINO ({why}): set IMAGE_RECOGNITION_RUNTIME=auto.")
    if on_gpu:
        return "torch", "cuda"
    return ("torch" if runtime == "torch" else manifest.engine), "cpu"


def _on_gpu(device: Device) -> bool:
    if device == "cpu" or (device == "auto" and not any(Path(file).exists() for file in _NVIDIA)):
        return False
    import torch  # noqa: PLC0415 - seconds, only where there may be a GPU

    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("There is no CUDA GPU that torch can use: set IMAGE_RECOGNITION_DEVICE=auto or cpu.")
    return torch.cuda.is_available()

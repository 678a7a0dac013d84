"""A stored network, running: pixels -> features, logits, and the Grad-CAM weights of any class."""

import logging
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from src.model.engines import Device, RuntimeChoice, choose
from src.model.manifest import Manifest

__all__ = ["Evaluation", "Precision", "Runtime", "start"]

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16"]


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
        ModelError: What the settings or the network ask for is not there: a GPU, OpenVINO, torch.
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

"""What runs a stored network, and where; decided before torch or OpenVINO is imported."""

import importlib.util
import logging
from pathlib import Path
from typing import Final, Literal

import numpy as np

from src.cores import usable_cores
from src.errors import ModelError, Remedy
from src.runtimes.base import Graphs, Precision, Runtime
from src.runtimes.batches import Batching, batched
from src.runtimes.closed_form import ClosedForm
from src.store.files import CLOSED_FORM
from src.store.manifest import Manifest, RuntimeName

__all__ = ["Device", "PrecisionChoice", "RuntimeChoice", "choose", "start", "torch_is_installed"]

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
RuntimeChoice = Literal["auto", "openvino", "torch"]
PrecisionChoice = Literal["fp32", "bf16", "auto"]

_ONE_BY_ONE: Final = Batching()
_NVIDIA: Final = ("/dev/nvidiactl", "/dev/dxg")  # Linux, and Linux under Windows


def start(  # noqa: PLR0913 - the settings that decide about it
    folder: Path,
    manifest: Manifest,
    *,
    threads: int,
    device: Device = "auto",
    runtime: RuntimeChoice = "auto",
    precision: PrecisionChoice = "fp32",
    batching: Batching = _ONE_BY_ONE,
) -> Runtime:
    """Make the network in ``folder`` ready for use by ``threads`` threads at once, which share out the cores.

    On a CPU it runs in OpenVINO where it was converted, else in torch; on a CUDA GPU, which ``auto`` takes where there
    is one, in torch. With ``batching`` any number of threads may use it. ``precision`` auto is bf16 where the check of
    the model found that it changes nothing that matters.

    Raises:
        ModelError: What the settings or the network ask for is not there: a GPU, OpenVINO, torch.
    """
    name, target = choose(manifest, device, runtime)
    numbers = _numbers(precision, manifest, name)
    if name == "torch":
        from src.runtimes.torch import TorchGraphs  # noqa: PLC0415 - seconds that OpenVINO does not need

        graphs: Graphs = TorchGraphs(folder, manifest, target, numbers, threads)
    else:
        from src.runtimes.openvino import OpenVinoGraphs  # noqa: PLC0415 - nor does torch need OpenVINO

        graphs = OpenVinoGraphs(folder, numbers, threads, batching.most)
    closed_form = ClosedForm.load(folder / CLOSED_FORM).gradient if manifest.head == "closed_form" else None
    running = Runtime(graphs, manifest.features, closed_form)
    if batching.most > 1:
        running = batched(running, batching, streams=1 if target == "cuda" else min(threads, usable_cores()))
    _warm_up(running, manifest)
    reason = f" ({manifest.note})" if running.name == "torch" and manifest.note else ""
    logger.info("The network runs in %s on %s, %s%s.", running.name, running.device, running.precision, reason)
    return running


def _numbers(precision: PrecisionChoice, manifest: Manifest, runtime: RuntimeName) -> Precision:
    """Return the precision to ask for; by ``auto`` bf16 where a check found it harmless in the same runtime.

    Where a CPU does not compute it by itself, OpenVINO stays with fp32.
    """
    if precision != "auto":
        return precision
    return "bf16" if manifest.bf16 and runtime == "openvino" else "fp32"


def choose(manifest: Manifest, device: Device, runtime: RuntimeChoice) -> tuple[RuntimeName, Literal["cpu", "cuda"]]:
    """Return what runs the network of ``manifest``, and where.

    Raises:
        ModelError: What the settings or the network ask for is not there: a GPU, OpenVINO, torch.
    """
    on_gpu = _on_gpu(device)
    if runtime == "openvino" and (on_gpu or manifest.runtime != "openvino"):
        why = "OpenVINO runs on the CPU here" if on_gpu else manifest.note.removesuffix(".")
        raise ModelError(f"The network cannot run in OpenVINO ({why}).", Remedy("runtime", "auto"))
    if on_gpu:
        return "torch", "cuda"
    name: RuntimeName = "torch" if runtime == "torch" else manifest.runtime
    if name == "torch":
        _require_torch("The runtime torch" if runtime == "torch" else "This model")
    return name, "cpu"


def torch_is_installed() -> bool:
    """Return whether torch can be imported: the image does without it, unless it was asked for."""
    return importlib.util.find_spec("torch") is not None


def _warm_up(running: Runtime, manifest: Manifest) -> None:
    """Run a black image: the first one is slow, and must not be two at once.

    OpenVINO's bindings fill a table at their first use and let other threads run meanwhile; a second thread that comes
    to that table then waits for it without letting the first one go on, and the whole process hangs for good.
    """
    channels, height, width = manifest.input.shape
    running.evaluate(np.zeros((height, width, channels), np.uint8)).weights(0)


def _require_torch(what: str) -> None:
    if not torch_is_installed():
        raise ModelError(f"{what} needs torch, which is not installed here: use the image of 'make container TORCH=1'.")


def _on_gpu(device: Device) -> bool:
    if device == "cpu" or (device == "auto" and not (_has_nvidia() and torch_is_installed())):
        return False
    _require_torch("A GPU")
    from src.runtimes.torch import has_gpu  # noqa: PLC0415 - seconds, only where there may be a GPU

    if device == "cuda" and not has_gpu():
        raise ModelError("There is no CUDA GPU that torch can use.", Remedy("device", "auto"), Remedy("device", "cpu"))
    return has_gpu()


def _has_nvidia() -> bool:
    return any(Path(file).exists() for file in _NVIDIA)

"""Select the runtime and the device of a stored network, before torch or OpenVINO is imported."""

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from src.cores import usable_cores
from src.errors import ModelError, Remedy
from src.store.files import CLOSED_FORM
from src.store.manifest import Manifest, RuntimeName

if TYPE_CHECKING:  # the process that supervises the workers only chooses
    from src.runtimes.base import Graphs, Precision, Runtime
    from src.runtimes.batches import Batching

__all__ = ["Device", "PrecisionChoice", "RuntimeChoice", "choose", "start", "torch_is_installed"]

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
RuntimeChoice = Literal["auto", "openvino", "torch"]
PrecisionChoice = Literal["fp32", "bf16", "auto"]

_NVIDIA: Final = ("/dev/nvidiactl", "/dev/dxg")  # Linux, and Linux under Windows


def start(  # noqa: PLR0913 - the settings that it depends on
    folder: Path,
    manifest: Manifest,
    *,
    threads: int,
    device: Device = "auto",
    runtime: RuntimeChoice = "auto",
    precision: PrecisionChoice = "fp32",
    batching: "Batching | None" = None,
    at_once: int = 1,
    cores: int | None = None,
) -> "Runtime":
    """Load the network in ``folder`` for concurrent use by ``threads`` threads.

    The threads share all cores of this process, or only ``cores`` if other processes run the same network.

    On a CPU the network runs in OpenVINO if it was converted, otherwise in torch; on a CUDA GPU, which ``auto`` uses if
    there is one, in torch. With ``batching``, any number of threads may use it; without, each call may have up to
    ``at_once`` images. ``precision`` auto is bf16 if the check of the model found that it changes no result
    significantly.

    Raises:
        ModelError: The settings or the network require a GPU, OpenVINO or torch that is not available.
    """
    from src.runtimes.base import Runtime  # noqa: PLC0415 - not needed to choose
    from src.runtimes.batches import Batching, batched  # noqa: PLC0415
    from src.runtimes.closed_form import ClosedForm  # noqa: PLC0415

    batching = batching or Batching()
    name, target = choose(manifest, device, runtime)
    numbers = _numbers(precision, manifest, name)
    if name == "torch":
        from src.runtimes.torch import TorchGraphs  # noqa: PLC0415 - slow, and not needed for OpenVINO

        graphs: Graphs = TorchGraphs(folder, manifest, target, numbers, threads, cores)
    else:
        from src.runtimes.openvino import OpenVinoGraphs  # noqa: PLC0415 - not needed for torch

        graphs = OpenVinoGraphs(folder, numbers, threads, max(batching.most, at_once), cores)
    closed_form = ClosedForm.load(folder / CLOSED_FORM).gradient if manifest.head == "closed_form" else None
    running = Runtime(graphs, manifest.features, closed_form)
    if batching.most > 1:
        running = batched(running, batching, streams=1 if target == "cuda" else min(threads, usable_cores()))
    _warm_up(running, manifest)
    reason = f" ({manifest.note})" if name == "torch" and manifest.note else ""
    logger.info("The network runs in %s on %s, %s%s.", name, graphs.device, graphs.precision, reason)
    return running


def _numbers(precision: PrecisionChoice, manifest: Manifest, runtime: RuntimeName) -> "Precision":
    """Return the precision to request; ``auto`` is bf16 if a check found it harmless in the same runtime.

    On CPUs without native bf16, OpenVINO uses fp32.
    """
    if precision != "auto":
        return precision
    return "bf16" if manifest.bf16 and runtime == "openvino" else "fp32"


def choose(manifest: Manifest, device: Device, runtime: RuntimeChoice) -> tuple[RuntimeName, Literal["cpu", "cuda"]]:
    """Return the runtime and the device for the network of ``manifest``.

    Raises:
        ModelError: The settings or the network require a GPU, OpenVINO or torch that is not available.
    """
    on_gpu = _on_gpu(device)
    if runtime == "openvino" and (on_gpu or manifest.runtime != "openvino"):
        why = "OpenVINO runs on the CPU here" if on_gpu else manifest.note.removesuffix(".")
        remedies = [Remedy("device", "cpu")] if manifest.runtime == "openvino" else []
        raise ModelError(f"The network cannot run in OpenVINO ({why}).", *remedies, Remedy("runtime", "auto"))
    if on_gpu:
        return "torch", "cuda"
    name: RuntimeName = "torch" if runtime == "torch" else manifest.runtime
    if name == "torch":
        _require_torch("The runtime torch" if runtime == "torch" else "This model")
    return name, "cpu"


def torch_is_installed() -> bool:
    """Return whether torch is installed; the Docker image has it only if built with it."""
    return importlib.util.find_spec("torch") is not None


def _warm_up(running: "Runtime", manifest: Manifest) -> None:
    """Run a black image: the first run is slow, and must not overlap with another.

    OpenVINO's bindings fill a table on first use, and release the interpreter's lock meanwhile. A second thread that
    needs the table then waits for it without releasing the lock, and the process deadlocks.
    """
    import numpy as np  # noqa: PLC0415 - not needed to choose

    channels, height, width = manifest.input.shape
    running.evaluate(np.zeros((height, width, channels), np.uint8)).weights(0)


def _require_torch(what: str) -> None:
    if not torch_is_installed():
        raise ModelError(f"{what} needs torch, which is not installed here: use the image of 'make container TORCH=1'.")


def _on_gpu(device: Device) -> bool:
    if device == "cpu" or (device == "auto" and not (_has_nvidia() and torch_is_installed())):
        return False
    _require_torch("A GPU")
    from src.runtimes.torch import has_gpu  # noqa: PLC0415 - slow, and needed only if there may be a GPU

    if device == "cuda" and not has_gpu():
        raise ModelError("There is no CUDA GPU that torch can use.", Remedy("device", "auto"), Remedy("device", "cpu"))
    return has_gpu()


def _has_nvidia() -> bool:
    return any(Path(file).exists() for file in _NVIDIA)

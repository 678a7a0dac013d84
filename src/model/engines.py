"""Which engine runs a stored network, and where; decided before any of them is imported."""

import importlib.util
from pathlib import Path
from typing import Final, Literal

from src.errors import ModelError
from src.model.manifest import Engine, Manifest

__all__ = ["Device", "RuntimeChoice", "choose", "torch_is_installed"]

Device = Literal["auto", "cpu", "cuda"]
RuntimeChoice = Literal["auto", "openvino", "torch"]

_NVIDIA: Final = ("/dev/nvidiactl", "/dev/dxg")  # Linux, and Linux under Windows


def choose(manifest: Manifest, device: Device, runtime: RuntimeChoice) -> tuple[Engine, Literal["cpu", "cuda"]]:
    """Return what runs the network of ``manifest``, and where.

    Raises:
        ModelError: What the settings or the network ask for is not there: a GPU, OpenVINO, torch.
    """
    on_gpu = _on_gpu(device)
    if runtime == "openvino" and (on_gpu or manifest.engine != "openvino"):
        why = "OpenVINO runs on the CPU here" if on_gpu else manifest.note.removesuffix(".")
        raise ModelError(f"The network cannot run in OpenVINO ({why}): set IMAGE_RECOGNITION_RUNTIME=auto.")
    if on_gpu:
        return "torch", "cuda"
    engine: Engine = "torch" if runtime == "torch" else manifest.engine
    if engine == "torch" or manifest.head == "autograd":
        _require_torch("IMAGE_RECOGNITION_RUNTIME=torch" if runtime == "torch" else "This model")
    return engine, "cpu"


def torch_is_installed() -> bool:
    """Return whether torch can be imported: the image does without it, unless it was asked for."""
    return importlib.util.find_spec("torch") is not None


def _require_torch(what: str) -> None:
    if not torch_is_installed():
        raise ModelError(f"{what} needs torch, which is not installed here: use the image of 'make container TORCH=1'.")


def _on_gpu(device: Device) -> bool:
    if device == "cpu" or (device == "auto" and not (_has_nvidia() and torch_is_installed())):
        return False
    _require_torch("IMAGE_RECOGNITION_DEVICE=cuda")
    import torch  # noqa: PLC0415 - seconds, only where there may be a GPU

    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("There is no CUDA GPU that torch can use: set IMAGE_RECOGNITION_DEVICE=auto or cpu.")
    return torch.cuda.is_available()


def _has_nvidia() -> bool:
    return any(Path(file).exists() for file in _NVIDIA)

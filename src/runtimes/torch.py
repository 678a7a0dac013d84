"""The graphs of a stored network in torch: on a GPU, or if OpenVINO cannot run them."""

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch.export import load
from torch.export.passes import move_to_device_pass

from src.cores import usable_cores
from src.errors import ModelError
from src.runtimes.base import Array, Precision
from src.store.files import GRADIENT_PROGRAM, NETWORK_PROGRAM, WEIGHTS
from src.store.manifest import Manifest

if TYPE_CHECKING:
    from src.stages.input_spec import InputSpec

__all__ = ["TorchGraphs", "has_gpu"]

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}
_EXAMPLES: Final = "data/sample_inputs/model.pt"  # empty
# The entries of a program's archive without tensors: operations and empty lists, all in JSON.
_ENTRIES: Final = {
    *("models/model.json", "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"),
    *(_EXAMPLES, "archive_format", "archive_version", "byteorder"),
    *(".data/version", ".data/serialization_id"),
}


class TorchGraphs:
    """Two programs on their device; on a CPU, ``threads`` threads share the cores."""

    name: Final = "torch"

    def __init__(self, folder: Path, manifest: Manifest, device: str, precision: Precision, threads: int) -> None:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, usable_cores() // threads)))
        self.device, self.precision = device, precision
        self._input: InputSpec = manifest.input
        try:
            self._network = _Program(folder, NETWORK_PROGRAM, device)
            self._gradient = _Program(folder, GRADIENT_PROGRAM, device)
        except ModelError:
            raise
        except Exception as exc:
            raise ModelError(
                f"torch {torch.__version__} cannot read the program of this model, which torch {manifest.torch} wrote:"
                " store it again with save_model.py, or install that version."
            ) from exc

    def network(self, pixels: NDArray[np.uint8]) -> tuple[Array, ...]:
        """Run the network."""
        images = torch.from_numpy(np.stack([self._input.normalize(one) for one in pixels])).to(self.device)
        with torch.autocast(self.device, _DTYPES[self.precision], enabled=self.precision != "fp32"):
            return tuple(output.float().cpu().numpy() for output in self._network(images))

    def gradient(self, features: Array, direction: Array) -> Array:
        """Run the backward pass of its head."""
        (gradient,) = self._gradient(*(torch.from_numpy(one).to(self.device) for one in (features, direction)))
        found: Array = gradient.cpu().numpy()
        return found


def has_gpu() -> bool:
    """Return whether there is a CUDA GPU that torch can use."""
    return torch.cuda.is_available()


class _Program:
    """A program and its tensors."""

    def __init__(self, folder: Path, name: str, device: str) -> None:
        _check_archive(folder / name)
        with safe_open(folder / WEIGHTS, "pt", device) as stored:
            self._tensors = [stored.get_tensor(key) for key in json.loads(stored.metadata()[name])]
        program = move_to_device_pass(load(folder / name), device)
        self._run = program.module(check_guards=False)

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            outputs = self._run(self._tensors, *inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)


def _check_archive(file: Path) -> None:
    """Check that nothing in the archive of a program is pickled: torch would execute a pickled entry.

    Raises:
        ModelError: It contains anything except the operations.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.partition("/")[2]: archive.read(entry) for entry in archive.namelist()}
        configurations = [json.loads(content) for name, content in entries.items() if name.endswith("_config.json")]
    except (OSError, ValueError, zipfile.BadZipFile) as exc:
        raise ModelError(f"{file} is not a program of torch: store the model again with save_model.py.") from exc
    if entries.keys() - _ENTRIES or entries.get(_EXAMPLES) or configurations != [{"config": {}}] * 2:
        raise ModelError(f"{file} contains more than operations, and may run code: store the model again.")

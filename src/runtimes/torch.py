"""The graphs of a stored network in torch: on a GPU, or if OpenVINO cannot run them."""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch.export import load
from torch.export.passes import move_to_device_pass

from src.cores import usable_cores
from src.errors import ModelError, Remedy
from src.runtimes.base import Array, Precision
from src.store.files import GRADIENT_PROGRAM, NETWORK_PROGRAM, WEIGHTS
from src.store.manifest import Manifest

if TYPE_CHECKING:
    from src.stages.input_spec import InputSpec

__all__ = ["TorchGraphs", "has_gpu"]

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}
_EXAMPLES: Final = "data/sample_inputs/model.pt"  # empty
_OPERATIONS: Final = "models/model.json"
# The entries of a program's archive without tensors: operations and empty lists, all in JSON.
_ENTRIES: Final = {
    *(_OPERATIONS, "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"),
    *(_EXAMPLES, "archive_format", "archive_version", "byteorder"),
    *(".data/version", ".data/serialization_id"),
}
# The texts among the operations. Torch evaluates the sizes of tensors as Python, and writes names into a function.
_WORDS: Final = re.compile(r"[\w.+-]*", re.ASCII)
_SIZES: Final = (  # functions of the number of images, as sympy writes them
    "Add|Mul|Pow|Min|Max|Abs|Mod|Integer|Rational|And|Or|Not|Equality|Unequality|(?:Strict)?(?:Less|Greater)Than"
    "|PythonMod|FloorDiv|CeilDiv|CleanDiv|(?:Ceil|Floor|Trunc|Round)ToInt|(?:Trunc)?ToFloat|(?:Int|Float)TrueDiv"
    "|FloatPow|PowByNatural|ModularIndexing|Where"
)
_TEXTS: Final[Mapping[str, re.Pattern[str]]] = {
    "expr_str": re.compile(
        rf"(?:(?:{_SIZES})\(|Symbol\('\w+'|Float\('[-+.\de]+'|[a-z]+=(?:True|False|\d+)|[\d., )*+-])*+", re.ASCII
    ),
    **dict.fromkeys(
        ("in_spec", "out_spec"),
        re.compile(
            r'(?:"builtins\.(?:tuple|list|dict)"|"(?:type|context|children_spec)"|"null"|"\[\]"|null|[][{}:, \d])*+'
        ),
    ),
    "as_operator": re.compile("(?!)"),  # a function as an argument of another
}
_NEVER_RUN: Final = ("as_string", "guards_code", "metadata")


class TorchGraphs:
    """Two programs on their device; on a CPU, ``threads`` threads share all cores, or ``cores``."""

    name: Final = "torch"

    def __init__(  # noqa: PLR0913, PLR0917 - what it runs, where, and how much of it
        self,
        folder: Path,
        manifest: Manifest,
        device: str,
        precision: Precision,
        threads: int,
        cores: int | None = None,
    ) -> None:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, (cores or usable_cores()) // threads)))
        self.device, self.precision = device, precision
        self._input: InputSpec = manifest.input
        try:
            self._network = _Program(folder, NETWORK_PROGRAM, device)
            self._gradient = _Program(folder, GRADIENT_PROGRAM, device)
        except ModelError:
            raise
        except torch.OutOfMemoryError as exc:
            raise ModelError("The GPU has too little free memory for this network.", Remedy("device", "cpu")) from exc
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
        self._run = move_to_device_pass(load(folder / name), device).graph_module

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            outputs: tuple[torch.Tensor, ...] = self._run(*self._tensors, *inputs)
        return outputs


def _check_archive(file: Path) -> None:
    """Check that nothing in the archive of a program is pickled, or Python: torch would execute either.

    Raises:
        ModelError: It contains anything except the operations.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            entries = {name.partition("/")[2]: archive.read(name) for name in names}
        described = {name: json.loads(content) for name, content in entries.items() if name.endswith(".json")}
    except (OSError, ValueError, zipfile.BadZipFile) as exc:
        raise ModelError(f"{file} is not a program of torch: store the model again with save_model.py.") from exc
    operations = described.pop(_OPERATIONS, None)
    is_plain = len(entries) == len(names) and not entries.keys() - _ENTRIES and not entries.get(_EXAMPLES)
    if not is_plain or list(described.values()) != [{"config": {}}] * 2 or not all(_are_words(operations)):
        raise ModelError(f"{file} contains more than operations, and may run code: store the model again.")


def _are_words(value: object, key: str = "") -> Iterator[bool]:
    """Yield for each text in ``value``, the value of ``key``, whether it has no code that torch would execute."""
    if isinstance(value, dict):
        for name, held in value.items():
            if name not in _NEVER_RUN:
                yield from _are_words(held, name)
    elif isinstance(value, list):
        for held in value:
            yield from _are_words(held, key)
    elif isinstance(value, str):
        yield _TEXTS.get(key, _WORDS).fullmatch(value) is not None

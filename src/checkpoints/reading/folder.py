"""A downloaded folder: find its weights, and read the config.json beside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from src.checkpoints.reading.other_kinds import check_folder
from src.checkpoints.reading.weights_file import WeightsFile, read_weights_file
from src.errors import ModelError

__all__ = ["Source", "read_source"]

_CONFIG: Final = "config.json"
_OF_A_LIBRARY: Final = {"architecture", "model_type"}  # timm's, transformers'; others hold a class's arguments
_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
_INDEX: Final = ".index.json"  # maps each tensor to one of several files
_KINDS: Final = (".safetensors", ".ckpt", ".pt", ".pth", ".pth.tar", ".bin")
_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Source:
    """A file of weights, its folder, and the content of the ``config.json`` beside it, if there is one."""

    file: WeightsFile
    folder: Path
    config: Mapping[str, Any] | None = None


def read_source(path: Path) -> Source:
    """Read a file of weights, or a folder of timm or transformers in the layout of the Hugging Face hub.

    Raises:
        ModelError: The file or folder does not exist, has no weights or several, or cannot be read.
    """
    if not path.exists():
        raise ModelError(f"There is no file {path}.")
    if path.is_dir():
        path = _weights(path)
    whole = path.name.removesuffix(_INDEX)
    file = _joined(path) if path.name.endswith(_INDEX) else read_weights_file(path)
    if whole not in _WEIGHTS and path.suffix != ".safetensors":
        return Source(file, path.parent)
    config = _json(path.with_name(_CONFIG))
    if config and not _OF_A_LIBRARY & config.keys():
        file = replace(file, hyper_parameters={**config, **file.hyper_parameters})
    return Source(file, path.parent, config)


def _weights(folder: Path) -> Path:
    usual = [folder / name for weights in _WEIGHTS for name in (weights, f"{weights}{_INDEX}")]
    found = next((path for path in usual if path.is_file()), None)
    check_folder(folder, has_weights=found is not None)
    if found is not None:
        files = [found, *sorted(folder.glob(f"{found.stem}_[0-9]*{found.suffix}"))]  # as Accelerate saves several
    else:
        files = sorted(file for file in folder.iterdir() if file.name.endswith(_KINDS) and file.is_file())
    if len(files) == 1:
        return files[0]
    if not files:
        raise ModelError(f"The folder {folder} contains no checkpoint ({', '.join(_KINDS)}): name the file itself.")
    some = ", ".join(file.name for file in files[:_SHOWN])
    raise ModelError(f"The folder {folder} contains {len(files)} checkpoints ({some}, ...): name one of them.")


def _joined(index: Path) -> WeightsFile:
    """Read all files that ``index`` names."""
    named = (_json(index) or {}).get("weight_map")
    names = sorted({str(name) for name in named.values()}) if isinstance(named, Mapping) else []
    if not names or any(Path(name).name != name for name in names):
        raise ModelError(f"{index} does not say which files beside it hold the tensors.")
    files = [read_weights_file(index.with_name(name)) for name in names]
    return replace(files[0], tensors={name: tensor for file in files for name, tensor in file.tensors.items()})


def _json(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise ModelError(f"{path} is not JSON: {exc}.") from exc
    return content if isinstance(content, Mapping) else None

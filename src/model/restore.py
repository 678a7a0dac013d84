"""The files of a stored model -> its network in torch, split into backbone and head."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from src.model.files import MODULE, WEIGHTS
from src.model.manifest import Manifest
from src.model.module import ARCHITECTURE_PREFIX, instantiate
from src.model.network import build_to_load
from src.model.split import SplitNetwork, split
from src.model.tensors import load_weights

__all__ = ["make", "restore"]


def restore(folder: Path, manifest: Manifest) -> SplitNetwork:
    """Return the network whose files are in ``folder``.

    Raises:
        ModelError: The files do not fit each other.
    """
    network = make(manifest.architecture, len(manifest.labels), folder / MODULE, manifest.arguments)
    load_weights(network, load_file(folder / WEIGHTS))
    return split(network, manifest.input.crop, manifest.layer)


def make(architecture: str, num_classes: int, module: Path | None, arguments: Mapping[str, Any]) -> nn.Module:
    """Return the network ``architecture``, yet without its weights; of a person's own class from ``module``."""
    if module is not None and architecture.startswith(ARCHITECTURE_PREFIX):
        return instantiate(module, architecture.removeprefix(ARCHITECTURE_PREFIX), arguments)
    return build_to_load(architecture, num_classes)

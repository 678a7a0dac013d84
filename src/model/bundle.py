"""A verified network in the model store: manifest, weights, and what ``bentoml models get`` shows."""

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import bentoml
from bentoml.exceptions import BentoMLException, NotFound
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from src.errors import ModelError, ModelMissing
from src.model.checkpoint import Checkpoint
from src.model.manifest import Manifest
from src.model.network import SplitNetwork, build, load_weights, split
from src.model.verify import Verification, verify

__all__ = ["Bundle", "Saved", "load", "save"]

_MANIFEST: Final = "manifest.json"
_WEIGHTS: Final = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A network from the model store, ready for a runtime."""

    tag: str
    manifest: Manifest
    network: SplitNetwork


@dataclass(frozen=True, slots=True)
class Saved:
    """What was put into the model store."""

    tag: str
    manifest: Manifest
    size_bytes: int
    verification: Verification


def save(checkpoint: Checkpoint, name: str) -> Saved:
    """Verify the network of ``checkpoint`` and store it as a new version of ``name``; a failure leaves nothing behind.

    Raises:
        ModelError: The weights do not fit, the network cannot be explained, or the store refuses the name.
    """
    network = build(checkpoint.architecture, len(checkpoint.labels))
    load_weights(network, checkpoint.weights)
    parts = split(network, checkpoint.input.crop)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, folder / _WEIGHTS)
        manifest = Manifest(
            architecture=checkpoint.architecture,
            labels=checkpoint.labels,
            input=checkpoint.input,
            layer=parts.layer,
            weights_sha256=_sha256(folder / _WEIGHTS),
        )
        (folder / _MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        verification = verify(network, parts, _read_network(folder, manifest), checkpoint.input.crop)
        tag = _store(folder, name, manifest, verification)
        size = sum(file.stat().st_size for file in folder.iterdir())
    return Saved(tag, manifest, size, verification)


def load(tag: str) -> Bundle:
    """Read the network ``tag`` from the model store.

    Raises:
        ModelError: The model is not there, was not stored by save_model.py, or is damaged.
    """
    try:
        model = bentoml.models.get(tag)
    except NotFound as exc:
        raise ModelMissing(tag) from exc
    folder = Path(model.path)
    try:
        manifest = Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
    except (OSError, ValidationError) as exc:
        raise ModelError(f"The model {model.tag} has no readable manifest: store it anew with save_model.py.") from exc
    return Bundle(str(model.tag), manifest, _read_network(folder, manifest))


def _read_network(folder: Path, manifest: Manifest) -> SplitNetwork:
    file = folder / _WEIGHTS
    if not file.is_file() or _sha256(file) != manifest.weights_sha256:
        raise ModelError(f"The weights in {folder} are missing or not those of the manifest: store the model anew.")
    network = build(manifest.architecture, len(manifest.labels))
    load_weights(network, load_file(file))
    return split(network, manifest.input.crop, manifest.layer)


def _store(folder: Path, name: str, manifest: Manifest, verification: Verification) -> str:
    labels = {"architecture": manifest.architecture, "task": "image-classification"}
    metadata = {
        "architecture": manifest.architecture,
        "classes": len(manifest.labels),
        "gradcam_layer": manifest.layer,
        "input": manifest.input.model_dump(mode="json"),
        "weights_sha256": manifest.weights_sha256,
        "max_logit_difference_split": verification.split,
        "max_logit_difference_stored": verification.stored,
    }
    try:
        with bentoml.models.create(name, labels=labels, metadata=metadata) as model:
            shutil.copytree(folder, model.path, dirs_exist_ok=True)
    except (BentoMLException, ValueError) as exc:
        raise ModelError(f"The model store refused {name!r}: {exc}.") from exc
    return str(model.tag)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

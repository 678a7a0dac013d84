"""A verified network in the model store: manifest, weights, and what ``bentoml models get`` shows."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
from bentoml.exceptions import BentoMLException, NotFound
from safetensors.torch import load_file, save_file
from torch import nn

from src.errors import ModelError, ModelMissing
from src.model.files import MANIFEST, MODULE, WEIGHTS, checked_manifest, sha256
from src.model.manifest import Manifest
from src.model.module import ARCHITECTURE_PREFIX, instantiate
from src.model.network import build
from src.model.split import SplitNetwork, split
from src.model.tensors import load_weights
from src.model.verify import Verification, verify

if TYPE_CHECKING:  # serving does not read checkpoints, and a bento does not hold what reads them
    from src.model.checkpoint import Checkpoint

__all__ = ["Bundle", "Draft", "draft", "load", "store"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A network from the model store, ready for a runtime; ``check`` has the figures of a check on pictures, if any."""

    tag: str
    manifest: Manifest
    network: SplitNetwork
    check: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """A verified network, written to ``folder`` and read back from there, that is not in the store yet."""

    folder: Path
    manifest: Manifest
    network: SplitNetwork
    verification: Verification

    @property
    def size_bytes(self) -> int:
        """Size of the files that the store will hold."""
        return sum(file.stat().st_size for file in self.folder.iterdir())


@contextmanager
def draft(checkpoint: "Checkpoint") -> Iterator[Draft]:
    """Verify the network of ``checkpoint`` and write it to a folder that is gone afterwards.

    Raises:
        ModelError: The weights do not fit, or the network cannot be explained.
    """
    network = _build(checkpoint.architecture, len(checkpoint.labels), checkpoint.module, checkpoint.arguments)
    load_weights(network, checkpoint.weights)
    parts = split(network, checkpoint.input.crop, checkpoint.layer)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if checkpoint.module is not None:
            shutil.copyfile(checkpoint.module, folder / MODULE)
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, folder / WEIGHTS)
        manifest = Manifest(
            architecture=checkpoint.architecture,
            arguments=dict(checkpoint.arguments),
            labels=checkpoint.labels,
            input=checkpoint.input,
            layer=parts.layer,
            weights_sha256=sha256(folder / WEIGHTS),
        )
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        stored = _read_network(folder, manifest)
        yield Draft(folder, manifest, stored, verify(network, parts, stored, checkpoint.input.crop))


def store(draft: Draft, name: str, version: str | None = None, check: Mapping[str, Any] | None = None) -> str:
    """Put ``draft`` into the model store, as a new version of ``name`` unless one is given; return its tag.

    Raises:
        ModelError: The store refuses the name, or has that version already.
    """
    manifest, verification = draft.manifest, draft.verification
    labels = {"architecture": manifest.architecture, "task": "image-classification"}
    metadata = {
        "architecture": manifest.architecture,
        "classes": len(manifest.labels),
        "gradcam_layer": manifest.layer,
        "input": manifest.input.model_dump(mode="json"),
        "weights_sha256": manifest.weights_sha256,
        "max_logit_difference_split": verification.split,
        "max_logit_difference_stored": verification.stored,
        **({"check": dict(check)} if check else {}),
    }
    tag = f"{name}:{version}" if version else name
    try:
        with bentoml.models.create(tag, labels=labels, metadata=metadata) as model:
            shutil.copytree(draft.folder, model.path, dirs_exist_ok=True)
    except (BentoMLException, ValueError) as exc:
        raise ModelError(f"The model store refused {tag!r}: {exc}.") from exc
    return str(model.tag)


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
    manifest = checked_manifest(folder)
    metadata: Mapping[str, Any] = model.info.metadata
    return Bundle(str(model.tag), manifest, _read_network(folder, manifest), metadata.get("check", {}))


def _read_network(folder: Path, manifest: Manifest) -> SplitNetwork:
    network = _build(manifest.architecture, len(manifest.labels), folder / MODULE, manifest.arguments)
    load_weights(network, load_file(folder / WEIGHTS))
    return split(network, manifest.input.crop, manifest.layer)


def _build(architecture: str, num_classes: int, module: Path | None, arguments: Mapping[str, Any]) -> nn.Module:
    if module is not None and architecture.startswith(ARCHITECTURE_PREFIX):
        return instantiate(module, architecture.removeprefix(ARCHITECTURE_PREFIX), arguments)
    return build(architecture, num_classes)

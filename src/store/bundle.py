"""Verified models in the model store, and the metadata that ``bentoml models get`` shows."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import bentoml
from bentoml.exceptions import BentoMLException, NotFound
from yaml import YAMLError

from src.errors import ModelError, ModelMissing, Remedy
from src.stages.confidence import Familiarity
from src.store.files import FAMILIARITY, WEIGHTS, checked_manifest
from src.store.manifest import Manifest

__all__ = ["Bundle", "check_free", "load", "store"]


_NEWEST: Final = "latest"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model from the store, with its files in ``folder``; ``check`` has the results of a check on images, if any."""

    tag: str
    manifest: Manifest
    folder: Path
    check: Mapping[str, Any] = field(default_factory=dict)

    @property
    def familiarity(self) -> Familiarity | None:
        """Its familiarity model, if it has one."""
        learned = self.manifest.learned
        return Familiarity.load(self.folder / FAMILIARITY) if learned and learned.familiarity else None


def check_free(name: str, version: str | None) -> None:
    """Check, before any work is done, that the store will accept a model with this name.

    Raises:
        ModelError: The name or the version is invalid, or the store already has that version.
    """
    tag = f"{name}:{version}" if version else name
    try:
        parsed = bentoml.Tag.from_str(tag)
        taken = bool(version) and bool(bentoml.models.list(tag))  # get() would also find 1.0 for 1
    except (BentoMLException, ValueError, YAMLError) as exc:
        raise ModelError(f"The model store refused {tag!r}: {exc}.") from exc
    if parsed.version == _NEWEST:
        raise ModelError(f"{_NEWEST} always means the newest version: choose another version.", Remedy("version"))
    if taken:
        raise ModelError(f"The model store already has {tag}: choose another version.", Remedy("version"))
    _check_newest(parsed.name)


def _check_newest(name: str) -> None:
    """Refuse a name whose newest model is damaged: BentoML reads that one after it has stored another."""
    try:
        bentoml.models.get(name)
    except NotFound:
        return
    except (BentoMLException, YAMLError) as exc:
        raise ModelError(
            f"The newest model {name} in the model store is damaged (its model.yaml): delete its folder in"
            f" models/{name} of the store, or choose another name.",
            Remedy("name"),
        ) from exc


def store(
    folder: Path, manifest: Manifest, name: str, version: str | None = None, figures: Mapping[str, Any] | None = None
) -> str:
    """Put the model in ``folder`` into the model store, as a new version of ``name`` unless one is given.

    Returns its tag. ``figures``, such as the results of a ``check``, are stored with it, for ``bentoml models get``.

    Raises:
        ModelError: The store refuses the name, or already has that version.
    """
    tag = f"{name}:{version}" if version else name
    labels = {"architecture": manifest.architecture, "task": "image-classification"}
    metadata = _described(manifest) | dict(figures or {})
    try:
        with bentoml.models.create(tag, labels=labels, metadata=metadata) as model:
            shutil.copytree(folder, model.path, dirs_exist_ok=True)
            _let_everybody_read(Path(model.path))
    except (BentoMLException, ValueError) as exc:
        raise ModelError(f"The model store refused {tag!r}: {exc}.") from exc
    return str(model.tag)


def load(tag: str) -> Bundle:
    """Return the model ``tag`` from the model store, after verifying its files.

    Raises:
        ModelError: The model does not exist, was not stored by save_model.py, or is damaged.
    """
    try:
        model = bentoml.models.get(tag)
    except NotFound as exc:
        raise ModelMissing(tag) from exc
    except YAMLError as exc:
        raise ModelError(f"The model {tag} is damaged (its model.yaml): store it again with save_model.py.") from exc
    except (BentoMLException, ValueError) as exc:
        raise ModelError(f"Cannot look up {tag!r} in the model store: {exc}.") from exc
    folder = Path(model.path)
    metadata: Mapping[str, Any] = model.info.metadata
    return Bundle(str(model.tag), checked_manifest(folder), folder, metadata.get("check", {}))


def _let_everybody_read(folder: Path) -> None:
    """Let other users read ``folder``: a container may run as any user."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def _described(manifest: Manifest) -> dict[str, Any]:
    return {
        "architecture": manifest.architecture,
        "classes": len(manifest.labels),
        "gradcam_layer": manifest.layer,
        "input": manifest.input.model_dump(mode="json"),
        "runtime": manifest.runtime,
        "head": manifest.head,
        "weights_sha256": manifest.sha256[WEIGHTS],
    }

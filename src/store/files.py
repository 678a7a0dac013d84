"""The files of a stored model, and their verification; needs no torch."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from src.errors import ModelError
from src.store.manifest import SCHEMA_VERSION, Manifest

__all__ = [
    "CLOSED_FORM",
    "FAMILIARITY",
    "GRADIENT",
    "GRADIENT_PROGRAM",
    "MANIFEST",
    "NETWORK",
    "NETWORK_PROGRAM",
    "WEIGHTS",
    "checked_manifest",
    "sha256",
]

MANIFEST: Final = "manifest.json"
# For OpenVINO, each with a .bin file.
NETWORK: Final = "network.xml"
GRADIENT: Final = "gradient.xml"
# For torch, with the tensors of both in one file.
NETWORK_PROGRAM: Final = "network.pt2"
GRADIENT_PROGRAM: Final = "gradient.pt2"
WEIGHTS: Final = "weights.safetensors"
CLOSED_FORM: Final = "closed_form.safetensors"
FAMILIARITY: Final = "familiarity.safetensors"


def checked_manifest(folder: Path) -> Manifest:
    """Return the manifest in ``folder``, after verifying the files that it lists.

    Raises:
        ModelError: The manifest is missing or not one of ours, or a file is missing or changed.
    """
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
        if isinstance(content, dict) and content.get("schema_version", SCHEMA_VERSION) in range(SCHEMA_VERSION):
            raise ModelError(
                f"The model in {folder} was stored by an earlier version: store it again with save_model.py."
            )
        manifest = Manifest.model_validate_json(json.dumps(content))
    except (OSError, ValueError) as exc:
        raise ModelError(f"The model in {folder} has no readable manifest: store it again with save_model.py.") from exc
    with ThreadPoolExecutor() as threads:
        digests = threads.map(lambda name: sha256(folder / name) if (folder / name).is_file() else "", manifest.sha256)
        for (name, expected), digest in zip(manifest.sha256.items(), digests, strict=True):
            if digest != expected:
                raise ModelError(f"{name} in {folder} is missing or changed: store the model again with save_model.py.")
    return manifest


def sha256(file: Path) -> str:
    """Return the SHA-256 of ``file`` in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

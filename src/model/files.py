"""The files of a stored model, and whether they are as they were written; needs no torch."""

import hashlib
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from src.errors import ModelError
from src.model.manifest import Manifest

__all__ = ["CLOSED_FORM", "COMPILED", "MANIFEST", "MODULE", "WEIGHTS", "checked_manifest", "sha256"]

MANIFEST: Final = "manifest.json"
MODULE: Final = "module.py"
WEIGHTS: Final = "weights.safetensors"
COMPILED: Final = "network.xml"  # beside it OpenVINO puts network.bin
CLOSED_FORM: Final = "closed_form.safetensors"


def checked_manifest(folder: Path) -> Manifest:
    """Return the manifest in ``folder``, after checking that the files beside it are those that it was written for.

    Raises:
        ModelError: The manifest is missing or not one of ours, or a file is missing or changed.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as exc:
        raise ModelError(f"The model in {folder} has no readable manifest: store it anew with save_model.py.") from exc
    for name, expected in manifest.sha256.items():
        file = folder / name
        if not file.is_file() or sha256(file) != expected:
            raise ModelError(f"{name} in {folder} is missing or changed: store the model anew with save_model.py.")
    return manifest


def sha256(file: Path) -> str:
    """Return the SHA-256 of ``file`` in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""Import transformers only when a folder needs it: it takes seconds, and may not be installed."""

from importlib import import_module
from typing import Any

from src.errors import ModelError

__all__ = ["transformers"]


def transformers() -> Any:  # noqa: ANN401 - a module that may be missing
    """Return the package.

    Raises:
        ModelError: It is not installed; the message says how to install it.
    """
    try:
        return import_module("transformers")
    except ImportError as exc:
        raise ModelError(
            "The folder holds a network of transformers, which is not installed: run"
            " .venv/bin/uv pip install transformers, and save the model again."
        ) from exc

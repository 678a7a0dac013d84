"""transformers, which is imported only for a folder of its own: it takes seconds, and is not always installed."""

from importlib import import_module
from typing import Any

from src.errors import ModelError

__all__ = ["transformers"]


def transformers() -> Any:  # noqa: ANN401 - a module that is not always there
    """Return the package.

    Raises:
        ModelError: It is not installed; the message says how to do it.
    """
    try:
        return import_module("transformers")
    except ImportError as exc:
        raise ModelError(
            "The folder holds a network of transformers, which is not installed: run"
            " .venv/bin/uv pip install transformers, and save the model again."
        ) from exc

"""Store the model of a measurement, beside the one that is served."""

import sys
from pathlib import Path

import save_model
from src.store import bundle
from src.store.bundle import Bundle

__all__ = ["stored_for"]


def stored_for(measurement: str, checkpoint: Path | None) -> Bundle:
    """Return the model of ``checkpoint``, or the default network, stored under the name of the ``measurement``.

    Raises:
        SystemExit: It is refused; save_model.py has said why.
    """
    if code := save_model.main([*([str(checkpoint)] if checkpoint else []), "--name", measurement]):
        sys.exit(code)
    return bundle.load(f"{measurement}:latest")

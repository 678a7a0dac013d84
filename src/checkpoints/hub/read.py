"""Read the network that a folder of timm or transformers describes."""

from src.checkpoints.hub.described import Described
from src.checkpoints.hub.timm_folder import read_timm
from src.checkpoints.hub.transformers_folder import read_transformers
from src.checkpoints.reading.folder import Source

__all__ = ["read_described"]


def read_described(source: Source) -> Described | None:
    """Return the network that the files beside the weights describe, or None.

    Raises:
        ModelError: They describe one that cannot be built or that the weights do not fit.
    """
    config = source.config or {}
    if isinstance(config.get("architecture"), str):
        return read_timm(source, config)
    return read_transformers(source, config) if isinstance(config.get("model_type"), str) else None

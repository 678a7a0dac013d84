"""Read the network that a folder of timm or transformers describes."""

from src.checkpoints.hub.described import Described
from src.checkpoints.hub.timm_folder import is_of_timm, read_timm
from src.checkpoints.hub.transformers_folder import is_of_transformers, read_transformers
from src.checkpoints.reading.folder import Source

__all__ = ["read_described"]


def read_described(source: Source) -> Described | None:
    """Return the network that the files beside the weights describe, or None.

    Raises:
        ModelError: They describe one that cannot be built or that the weights do not fit.
    """
    if is_of_timm(source.config):
        return read_timm(source)
    return read_transformers(source) if is_of_transformers(source.config) else None

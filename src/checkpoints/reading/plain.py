"""Values with stand-ins in them -> plain values, where the content of a stand-in is plain."""

from collections.abc import Mapping
from typing import Final

from src.checkpoints.reading.numpy_values import array
from src.checkpoints.reading.stand_ins import StandIn, fields

__all__ = ["plain"]

# Where OmegaConf's containers and nodes keep their content.
_OF_OMEGACONF: Final = {
    "omegaconf.dictconfig.DictConfig": "_content",
    "omegaconf.listconfig.ListConfig": "_content",
    "omegaconf.nodes.": "_val",
}
_ARRAY: Final = "multiarray._reconstruct"


def plain(value: object, seen: dict[int, object] | None = None) -> object:
    """Return ``value`` with plain values for the OmegaConf containers, NumPy arrays and other dictionaries in it."""
    seen = {} if seen is None else seen
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = value  # a value that contains itself stays as it is
    if isinstance(value, StandIn):
        seen[id(value)] = _plain_stand_in(value, seen)
    elif isinstance(value, Mapping):
        seen[id(value)] = {key: plain(held, seen) for key, held in value.items()}
    elif isinstance(value, list):
        seen[id(value)] = [plain(held, seen) for held in value]
    elif type(value) is tuple:
        seen[id(value)] = tuple(plain(held, seen) for held in value)
    return seen[id(value)]


def _plain_stand_in(value: StandIn, seen: dict[int, object]) -> object:
    for name, place in _OF_OMEGACONF.items():
        if value.called.startswith(name) and place in fields(value):
            return plain(fields(value)[place], seen)
    if value.called.endswith(_ARRAY):
        return array(value)
    return plain(value.items, seen) if value.items else value

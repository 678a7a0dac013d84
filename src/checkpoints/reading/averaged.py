"""Find the averaged weights in a checkpoint, beside those of the last step."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch

from src.checkpoints.reading.stand_ins import fields, is_module, module_tensors

__all__ = ["averaged_tensors", "is_averaged"]

_AVERAGED: Final = re.compile(r"(?<![A-Za-z])(?:ema|swa)(?![a-z])|(?<![A-Z])(?:EMA|SWA|Ema|Swa)(?![a-z])|[Aa]verag")
# Lightning's callback and the hook of mmengine put the average into the state dict itself, and these beside it.
_IN_THE_STATE_DICT: Final = ({"averaging_state"}, {"ema_state_dict", "message_hub"})
_OF_NO_INTEREST: Final = ("state_dict", "hyper_parameters", "optimizer_states", "optimizer")
_ONLINE: Final = "online_model"  # in the EMA of ema-pytorch, the network that it averages
_DEEPEST: Final = 4


def is_averaged(name: str) -> bool:
    """Return whether ``name`` denotes an average over training (``ema_model`` does, ``semantic`` does not)."""
    return _AVERAGED.search(name) is not None


def averaged_tensors(content: Mapping[Any, Any], state: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return the averaged tensors, wherever ``content`` holds them; empty if it does not.

    ``state`` is the state dict in ``content``: the average may replace it, or be part of it under a prefix.
    """
    if any(beside <= content.keys() for beside in _IN_THE_STATE_DICT):
        return state
    behind_a_prefix = {
        name: value
        for name, value in state.items()
        if is_averaged(str(name).rpartition(".")[0]) and _ONLINE not in str(name).split(".")
    }
    return next(_state_dicts(content, named=False, depth=0), behind_a_prefix)


def _state_dicts(content: Mapping[Any, Any], *, named: bool, depth: int) -> Iterator[Mapping[Any, Any]]:
    """Yield the state dicts in ``content`` whose own name, or that of a container, says that they are averaged."""
    for name, value in content.items():
        is_average = named or is_averaged(str(name))
        if name in _OF_NO_INTEREST and depth == 0:
            continue
        if is_module(value):
            if is_average:
                yield dict(module_tensors(value))
        elif isinstance(value, Mapping) and is_average and _is_state_dict(value):
            yield value
        elif depth < _DEEPEST:
            yield from _state_dicts(fields(value), named=is_average, depth=depth + 1)


def _is_state_dict(value: Mapping[Any, Any]) -> bool:
    tensors = [held for held in value.values() if isinstance(held, torch.Tensor)]
    return len(tensors) > 1 and all(isinstance(name, str) for name in value)

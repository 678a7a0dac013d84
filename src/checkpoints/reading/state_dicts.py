"""Find the state dict, or several, in the content of a file."""

from collections.abc import Mapping
from typing import Any, Final

import torch

from src.checkpoints.reading.averaged import is_averaged
from src.checkpoints.reading.stand_ins import fields, is_module, module_tensors

__all__ = ["NESTED", "OF_TRAINING", "holds_tensors", "is_of_optimizer", "is_state_dict", "networks", "state_dict"]

NESTED: Final = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "module")
_AVERAGED_FROM: Final = "current_model_state"  # beside the average, where Lightning stores that
OF_TRAINING: Final = ("optimizer_states", "lr_schedulers", "callbacks", "loops", "optimizer")
_STARTS_OF_TRAINING: Final = ("optim", "sched", *OF_TRAINING)
_DEEPEST: Final = 4


def state_dict(content: object, depth: int = 0) -> Mapping[Any, Any]:
    """Return the state dict in ``content``, or several joined, whose keys then become prefixes."""
    if is_module(content):
        return dict(module_tensors(content))
    said = fields(content)
    if (key := _main(said)) is not None:
        tensors = dict(module_tensors(said[key])) if is_module(said[key]) else fields(said[key])
        return {**_beside(said, key, tensors), **tensors}
    if depth == _DEEPEST or is_state_dict(said) or is_of_optimizer(said):
        return said
    inside = (state_dict(value, depth + 1) for name, value in said.items() if not _is_of_training(name))
    return _beside(said) or next(filter(holds_tensors, inside), said)


def networks(content: object) -> Mapping[str, object]:
    """Return the pickled networks whose tensors :func:`state_dict` returns, by the prefix of these."""
    if is_module(content):
        return {"": content}
    said = fields(content)
    key = _main(said)
    kept = {
        "" if name == key else str(name): value
        for name, value in said.items()
        if is_module(value) and not (is_averaged(str(name)) or _is_of_training(name))
    }
    averaged = [value for name, value in said.items() if is_module(value) and is_averaged(str(name))]
    return {"": averaged[0]} if averaged and key is None and not kept else kept


def _main(said: Mapping[Any, Any]) -> str | None:
    """Return the usual key of a state dict or network in ``said``, or None."""
    return next((key for key in NESTED if is_module(said.get(key)) or holds_tensors(fields(said.get(key)))), None)


def is_state_dict(said: Mapping[Any, Any]) -> bool:
    """Return whether ``said`` has tensors of layers: others, such as the best accuracy, may lie beside a state dict."""
    return any(isinstance(value, torch.Tensor) and "." in str(name) for name, value in said.items())


def is_of_optimizer(said: Mapping[Any, Any]) -> bool:
    """Return whether ``said`` is the state of an optimizer of torch, or of fastai's."""
    return "param_groups" in said or said.keys() >= {"state", "hypers"}


def holds_tensors(content: Mapping[Any, Any]) -> bool:
    """Return whether ``content`` itself has a tensor."""
    return any(isinstance(value, torch.Tensor) for value in content.values())


def _is_of_training(name: object) -> bool:
    return not isinstance(name, str) or name.lower().startswith(_STARTS_OF_TRAINING)


def _beside(
    said: Mapping[Any, Any], key: str | None = None, known: Mapping[Any, object] | None = None
) -> Mapping[str, torch.Tensor]:
    """Return the tensors of state dicts and networks other than ``key``, such as a head's, with keys as prefixes.

    Those whose tensors are all ``known``, such as an equal copy or a network's own head, are left out.
    """
    found: dict[Any, Any] = {
        name: dict(module_tensors(value)) if is_module(value) else value
        for name, value in said.items()
        if name not in {key, _AVERAGED_FROM} and not is_averaged(str(name)) and not _is_of_training(name)
    }
    return {
        f"{name}.{of}": tensor
        for name, value in found.items()
        if isinstance(value, Mapping) and all(isinstance(tensor, torch.Tensor) for tensor in value.values())
        if any(tensor.is_floating_point() and tensor.ndim > 1 for tensor in value.values())
        if not all(_is_among(tensor, known or {}) for tensor in value.values())
        for of, tensor in value.items()
    }


def _is_among(tensor: torch.Tensor, known: Mapping[Any, object]) -> bool:
    return any(
        isinstance(one, torch.Tensor) and one.dtype == tensor.dtype and one.equal(tensor) for one in known.values()
    )

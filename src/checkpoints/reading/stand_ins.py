"""Inert replacements for the classes and functions that a pickle names, and access to the values inside."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch

__all__ = ["Kind", "StandIn", "attribute", "fields", "is_module", "module_tensors", "modules", "stand_in"]


class Kind(type):
    """The class of all stand-ins.

    Torch's reader calls only what it was told to allow, and sets items only of dictionaries. Any stand-in passes both
    checks, whether the file names it or gets it as an attribute of another: nothing done to one has an effect.
    """

    called: str

    def __eq__(cls, other: object) -> bool:
        return other is dict or isinstance(other, Kind | StandIn)

    def __hash__(cls) -> int:
        return type.__hash__(cls)


class StandIn(metaclass=Kind):
    """Replaces an object: keeps its ``args``, ``state`` and ``items``, and does nothing.

    ``called`` is the name of the class or function that the file gives.
    """

    called = "?"
    args: tuple[object, ...]
    state: object
    items: dict[object, object]

    def __new__(cls, *args: object, **_: object) -> Self:
        """Keep the arguments."""
        made = object.__new__(cls)
        made.args, made.state, made.items = args, None, {}
        return made

    def __init__(self, *_: object, **__: object) -> None:
        """Accept whatever the class would."""

    def __call__(self, *args: object) -> "StandIn":
        """Return another stand-in, as the call of the original would return an object."""
        return type(self)(self, *args)

    def __setstate__(self, state: object) -> None:
        """Keep the state."""
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        self.items[key] = value


def stand_in(name: str) -> Kind:
    """Return a stand-in class for ``name``."""
    return Kind("StandIn", (StandIn,), {"called": name if name.isprintable() else ascii(name)})


def attribute(owner: object, name: object, *_: object) -> Kind:
    """Return a stand-in for an attribute, such as a nested class or a method; replaces ``getattr``."""
    return stand_in(f"{getattr(owner, 'called', '?') if isinstance(owner, Kind | StandIn) else '?'}.{name}")


def fields(value: object) -> Mapping[Any, Any]:
    """Return the named values of a mapping, a namespace or a stand-in; empty for everything else."""
    if isinstance(value, StandIn):
        state = value.state[0] if isinstance(value.state, tuple) and value.state else value.state
        return value.items or (state if isinstance(state, Mapping) else {})
    if isinstance(value, argparse.Namespace):
        return vars(value)
    return value if isinstance(value, Mapping) else {}


def is_module(value: object) -> bool:
    """Return whether ``value`` stands in for a torch.nn.Module."""
    return isinstance(value, StandIn) and {"_parameters", "_buffers", "_modules"} <= fields(value).keys()


def module_tensors(module: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the names and tensors of a pickled torch.nn.Module, as in its state_dict."""
    state = fields(module)
    passing = state.get("_non_persistent_buffers_set") or ()
    for name, tensor in {**state["_parameters"], **state["_buffers"]}.items():
        if tensor is not None and name not in passing:
            yield f"{prefix}{name}", tensor.detach() if isinstance(tensor, torch.Tensor) else tensor
    for name, child in state["_modules"].items():
        if is_module(child):
            yield from module_tensors(child, f"{prefix}{name}.")


def modules(module: object, prefix: str = "") -> Iterator[tuple[str, StandIn]]:
    """Yield the names and stand-ins of a pickled torch.nn.Module and of all modules in it, as its named_modules."""
    if isinstance(module, StandIn) and is_module(module):
        yield prefix, module
        for name, child in fields(module)["_modules"].items():
            yield from modules(child, f"{prefix}.{name}" if prefix else str(name))

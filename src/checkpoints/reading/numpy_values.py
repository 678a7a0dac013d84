"""Pickled numbers and arrays of NumPy -> plain values, without letting the file call a NumPy function."""

import re
from typing import Any, Final

import numpy as np

from src.checkpoints.reading.stand_ins import StandIn

__all__ = ["array", "scalar"]

_CODE: Final = re.compile(r"[biuf][1248]|U\d{1,6}")  # NumPy's codes of the supported numbers and texts
_SWAPPED: Final = ">"  # big-endian


def scalar(kind: object, data: object = b"", *_: object) -> object:
    """Return the number or the text in ``data`` (bytes); replaces NumPy's function.

    Values of other kinds stay stand-ins.
    """
    dtype = _dtype(kind)
    if dtype is None or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        return StandIn(kind, data)
    value: object = np.frombuffer(data, dtype)[0].item()
    return value


def array(value: StandIn) -> object:
    """Return the array that ``value`` stands in for, or a list if its elements are texts or objects."""
    if not isinstance(value.state, tuple) or len(value.state) != len(("version", "shape", "kind", "order", "data")):
        return value
    _, shape, kind, is_fortran, data = value.state
    if isinstance(data, list):
        return data
    dtype = _dtype(kind)
    if dtype is None or not isinstance(data, bytes) or not _is_shape(shape):
        return value
    if int(np.prod(shape, dtype=np.int64)) * dtype.itemsize != len(data):
        return value
    numbers = np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
    return numbers.tolist() if dtype.kind == "U" else numbers.copy()


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple) and all(isinstance(size, int) and size >= 0 for size in shape)


def _dtype(kind: object) -> np.dtype[Any] | None:
    code = kind.args[0] if isinstance(kind, StandIn) and kind.args else None
    if not isinstance(code, str) or not _CODE.fullmatch(code) or not isinstance(kind, StandIn):
        return None
    is_swapped = isinstance(kind.state, tuple) and kind.state[1:2] == (_SWAPPED,)
    return np.dtype(code).newbyteorder(">" if is_swapped else "<")

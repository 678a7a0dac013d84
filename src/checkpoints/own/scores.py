"""Find the class scores in the output of the user's own network."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec

__all__ = ["count_classes"]


def count_classes(network: nn.Module, spec: InputSpec) -> int:
    """Return how many scores ``network`` returns per image, and make it return only the scores.

    In a tuple or list these are the first tensor; in a mapping or an object, ``logits``.

    Raises:
        ModelError: It cannot take images of the size in ``spec``, or does not return scores (N, C).
    """
    try:
        with torch.no_grad():  # a table that it makes now and keeps must not be bound to inference mode
            given = network(torch.zeros(2, *spec.shape))
    except Exception as exc:
        height, width = spec.crop
        raise ModelError(
            f"The class cannot take {spec.channels}-channel images of {width} x {height} pixels:"
            f" {type(exc).__name__}: {exc}.",
            Remedy("crop", "HEIGHTxWIDTH"),
        ) from exc
    scores = _scores(given)
    if scores is not None and scores.shape == (2,):  # one output, without its own dimension
        scores = scores[:, None]
    if scores is None or scores.ndim != len("NC") or len(scores) != 2:  # noqa: PLR2004 - two images went in
        raise ModelError(
            f"The class returns {_described(given)} instead of logits (N, C): write a class around it whose forward"
            " returns only these, and name that one.",
            Remedy("module", "FILE.py:CLASS"),
        )
    if not scores.is_floating_point():
        raise ModelError(
            "The class returns integers, such as a class index, instead of scores: write a class around it"
            " whose forward returns the scores.",
            Remedy("module", "FILE.py:CLASS"),
        )
    if not isinstance(given, torch.Tensor):
        forward = network.forward
        network.forward = lambda images: _scores(forward(images))
    return scores.shape[1]


def _scores(given: Any) -> torch.Tensor | None:  # noqa: ANN401 - whatever a network returns
    if isinstance(given, Mapping):
        given = given.get("logits")
    elif isinstance(given, tuple | list):
        given = next((one for one in given if isinstance(one, torch.Tensor)), None)
    elif not isinstance(given, torch.Tensor):
        given = getattr(given, "logits", None)
    return given if isinstance(given, torch.Tensor) else None


def _described(given: object) -> str:
    if isinstance(given, torch.Tensor):
        return f"a tensor of shape {tuple(given.shape)} for two images"
    return f"a {type(given).__name__}"

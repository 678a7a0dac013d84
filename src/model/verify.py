"""The checks that a network passes before it is stored."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from src.errors import ModelError
from src.model.runtime import Evaluation, Runtime
from src.model.split import SplitNetwork
from src.stages.gradcam import gradcam

__all__ = ["Agreement", "Answer", "Verification", "answers", "compare", "random_pictures", "verify"]

_PROBES: Final = 2
_MAX_PROBABILITY: Final = 1e-4
_MAX_HEAT: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Verification:
    """The largest differences between the logits of the whole network and those of another form of it.

    ``split``: of backbone and head, one after the other; ``stored``: of what was read back from the written files.
    """

    split: float
    stored: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest differences between the answers of two runtimes: in a probability, and in a value of a heatmap."""

    probability: float
    heat: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a runtime makes of a picture: the logits (C,), and the heatmap (h, w) of the class ``class_index``."""

    class_index: int
    logits: NDArray[np.float32]
    heat: NDArray[np.float32]


def random_pictures(input_size: tuple[int, int]) -> torch.Tensor:
    """Return seeded pictures (N, 3, H, W) of noise in [-1, 1] of ``input_size`` (height, width)."""
    return 2 * torch.rand(_PROBES, 3, *input_size, generator=torch.Generator().manual_seed(0)) - 1


def verify(network: nn.Module, parts: SplitNetwork, stored: SplitNetwork, input_size: tuple[int, int]) -> Verification:
    """Compare three forms of one network on seeded random pictures of ``input_size`` (height, width).

    Raises:
        ModelError: A logit is not finite, none depends on the picture, or none on the features, so that nothing can be
            explained.
    """
    probes = random_pictures(input_size)
    with torch.no_grad():
        logits = network(probes)
        features = parts.backbone(probes)
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(f"The network gives logits that are not finite: {_first_damaged(network)}.")
    if bool((logits == logits[0]).all()):
        raise ModelError(
            "The network answers the same to every picture: it has learned nothing, or its weights are lost."
        )
    _check_gradient(parts.head, features)
    return Verification(_difference(logits, parts, probes), _difference(logits, stored, probes))


def answers(runtime: Runtime, input_size: tuple[int, int]) -> tuple[Answer, ...]:
    """Return what ``runtime`` makes of seeded random pictures of ``input_size`` (height, width)."""
    return tuple(
        _answer(evaluation, int(evaluation.logits.argmax())) for evaluation in _evaluations(runtime, input_size)
    )


def compare(runtime: Runtime, expected: Sequence[Answer], input_size: tuple[int, int]) -> Agreement:
    """Compare what ``runtime`` makes of seeded random pictures of ``input_size`` to the ``expected`` answers of torch.

    Raises:
        ModelError: They differ by more than 1e-4 in a probability or by more than 1e-3 in a heatmap.
    """
    agreements = [
        _agreement(_answer(evaluation, wanted.class_index), wanted)
        for evaluation, wanted in zip(_evaluations(runtime, input_size), expected, strict=True)
    ]
    probability, heat = max(one.probability for one in agreements), max(one.heat for one in agreements)
    if not (probability <= _MAX_PROBABILITY and heat <= _MAX_HEAT):  # NaN is no agreement either
        raise ModelError(
            f"In {runtime.name} the network answers otherwise than in torch:"
            f" by {probability:.1g} in a probability, by {heat:.1g} in a heatmap."
        )
    return Agreement(probability, heat)


def _evaluations(runtime: Runtime, input_size: tuple[int, int]) -> Iterator[Evaluation]:
    """Evaluate a picture of noise, and one of shades."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (*input_size, 3), np.uint8)
    shades = np.linspace(noise[0, 0], noise[-1, -1], input_size[0] * input_size[1]).reshape(noise.shape)
    for pixels in (noise, shades.astype(np.uint8)):
        yield runtime.evaluate(pixels, explained=True)


def _answer(evaluation: Evaluation, class_index: int) -> Answer:
    heat = gradcam(evaluation.features, evaluation.weights(class_index)).values
    return Answer(class_index, evaluation.logits, heat)


def _agreement(found: Answer, wanted: Answer) -> Agreement:
    if found.heat.shape != wanted.heat.shape:
        return Agreement(math.inf, math.inf)
    likely, expected = (torch.from_numpy(one.logits).double().softmax(0) for one in (found, wanted))
    return Agreement(float((likely - expected).abs().max()), float(np.abs(found.heat - wanted.heat).max()))


def _first_damaged(network: nn.Module) -> str:
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            return f"the tensor {name} holds NaN or infinity, so save the network before it diverged"
    return "its weights are too large for its numbers"


def _difference(logits: torch.Tensor, parts: SplitNetwork, probes: torch.Tensor) -> float:
    """Return the largest absolute difference between ``logits`` (N, C) and those of ``parts``."""
    with torch.no_grad():
        return float((parts.head(parts.backbone(probes)) - logits).abs().max())


def _check_gradient(head: nn.Module, features: torch.Tensor) -> None:
    leaf = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(head(leaf.clone()).max(dim=1).values.sum(), leaf)
    if not bool(torch.isfinite(gradient).all() and gradient.any()):
        raise ModelError("The answers of the network do not depend on its features: Grad-CAM cannot explain them.")

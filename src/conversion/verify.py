"""The checks that a network passes before it is stored."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.conversion.capture import random_images
from src.conversion.cut import Cut
from src.errors import ModelError
from src.runtimes.base import Array, Evaluation, Runtime
from src.stages.gradcam import gradcam
from src.stages.input_spec import InputSpec
from src.store.manifest import Manifest

__all__ = ["Agreement", "Answer", "Verification", "answers", "compare", "is_complete", "verify"]

_MAX_PROBABILITY: Final = 1e-4
_MAX_HEAT: Final = 1e-3
_MAX_REMAINDER: Final = 1e-4  # of the largest logit without its bias


@dataclass(frozen=True, slots=True)
class Verification:
    """The largest differences between the logits of a network as it was and those of its captured form.

    ``captured``: of the captured operations; ``cut``: of those behind the Grad-CAM layer, run on its features.
    """

    captured: float
    cut: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest differences between the answers of a runtime and of torch: in a probability, in a heatmap's value.

    ``complete``: whether the sum of each class's Grad-CAM map and the bias was its logit.
    """

    probability: float
    heat: float
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What torch makes of an image: the logits (C,), and the heatmap (h, w) of the class ``class_index``.

    ``bias`` (C,) are the logits of features that are zero everywhere.
    """

    class_index: int
    logits: NDArray[np.float32]
    heat: NDArray[np.float32]
    bias: NDArray[np.float32]


def verify(network: nn.Module, cut: Cut, spec: InputSpec, finish: Callable[[Tensor], Tensor]) -> Verification:
    """Compare a network as it was and in its captured form on seeded random images.

    Args:
        network: As it was.
        cut: Its captured form.
        spec: Its input.
        finish: What makes the outputs of ``network`` of the captured scores: see :class:`.probabilities.Scores`.

    Raises:
        ModelError: A logit is not finite, none depends on the image, or none on the features, so that nothing can be
            explained.
    """
    images = random_images(spec)
    with torch.no_grad():
        outputs = network(images)
        features, logits = cut.network()(images)
        behind = cut.head(features)
    if not bool(torch.isfinite(logits).all() and torch.isfinite(outputs).all()):
        raise ModelError(f"The network gives logits that are not finite: {_first_damaged(network)}.")
    if bool((logits == logits[0]).all()):
        raise ModelError(
            "The network answers the same to every image: it has learned nothing, or its weights are lost."
        )
    _check_gradient(cut.head, features)
    captured, behind = (float((finish(one) - outputs).abs().max()) for one in (logits, behind))
    return Verification(captured, behind)


def answers(cut: Cut, spec: InputSpec) -> tuple[Answer, ...]:
    """Return what torch makes of two seeded images, differentiating the head of ``cut`` as it runs."""
    return tuple(_answer(cut, torch.from_numpy(spec.normalize(pixels))[None]) for pixels in _images(spec))


def _answer(cut: Cut, image: torch.Tensor) -> Answer:
    with torch.no_grad():
        leaf = cut.network()(image)[0].requires_grad_()
    scores = cut.head(leaf)[0]
    index = int(scores.argmax())
    (gradient,) = torch.autograd.grad(scores[index], leaf)
    maps, weights = cut.layout.fold(leaf.detach())[0], cut.layout.fold(gradient)[0].mean(dim=(1, 2))
    with torch.no_grad():
        bias = cut.head(torch.zeros_like(leaf))[0].numpy()
    return Answer(index, scores.detach().numpy(), gradcam(maps.numpy(), weights.numpy()).values, bias)


def compare(runtime: Runtime, expected: tuple[Answer, ...], manifest: Manifest) -> Agreement:
    """Compare what ``runtime`` makes of the images of :func:`answers` to what torch makes of them.

    The heatmaps are compared by each way that the runtime has: its closed form, and the gradient.

    Raises:
        ModelError: They differ by more than 1e-4 in a probability or by more than 1e-3 in a heatmap.
    """
    images = _images(manifest.input)
    agreements = [_agreement(runtime, pixels, one, manifest) for pixels, one in zip(images, expected, strict=True)]
    probability, heat = max(one.probability for one in agreements), max(one.heat for one in agreements)
    if not (probability <= _MAX_PROBABILITY and heat <= _MAX_HEAT):  # NaN is no agreement either
        raise ModelError(
            f"In {runtime.name} the network answers differently than in torch:"
            f" by {probability:.1g} in a probability, by {heat:.1g} in a heatmap."
        )
    return Agreement(probability, heat, all(one.complete for one in agreements))


def _agreement(runtime: Runtime, pixels: NDArray[np.uint8], wanted: Answer, manifest: Manifest) -> Agreement:
    found = runtime.evaluate(pixels)
    likely, expected = (manifest.output.percents(one) / 100 for one in (found.logits, wanted.logits))
    ways = found.weights(wanted.class_index), found.gradient(wanted.class_index).mean(axis=(1, 2))
    heats = [gradcam(found.features, weights).values for weights in ways]
    if any(heat.shape != wanted.heat.shape for heat in heats):
        return Agreement(math.inf, math.inf)
    heat = max(float(np.abs(heat - wanted.heat).max()) for heat in heats)
    complete = runtime.closed_form is not None and is_complete(found, wanted.bias)
    return Agreement(float(np.abs(likely - expected).max()), heat, complete)


def is_complete(found: Evaluation, bias: Array) -> bool:
    r"""Tell whether :math:`\sum_{kij} \alpha_k A_{kij}` plus the bias is the logit, for every class.

    Args:
        found: What a network makes of an image.
        bias: (C,) the logits of maps that are zero everywhere.
    """
    totals = found.features.sum(axis=(1, 2), dtype=np.float64)
    explained = found.logits.astype(np.float64) - bias
    most = _MAX_REMAINDER * np.abs(explained).max()
    return all(abs(found.weights(index) @ totals - one) <= most for index, one in enumerate(explained))


def _images(spec: InputSpec) -> Iterator[NDArray[np.uint8]]:
    """Yield pixels (H, W, C) of noise, and of shades."""
    channels, height, width = spec.shape
    noise = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    yield noise
    yield np.linspace(noise[0, 0], noise[-1, -1], height * width).reshape(noise.shape).astype(np.uint8)


def _first_damaged(network: nn.Module) -> str:
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            return f"the tensor {name} holds NaN or infinity, so save the network before it diverged"
    return "its weights are too large for its numbers"


def _check_gradient(head: nn.Module, features: torch.Tensor) -> None:
    leaf = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(head(leaf).max(dim=1).values.sum(), leaf)
    if not bool(torch.isfinite(gradient).all() and gradient.any()):
        raise ModelError("The answers of the network do not depend on its features: Grad-CAM cannot explain them.")

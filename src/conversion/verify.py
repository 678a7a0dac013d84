"""Check a network before it is stored."""

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
from src.errors import ModelError, Remedy
from src.runtimes.base import Array, Evaluation, Runtime
from src.stages.gradcam import gradcam
from src.stages.input_spec import InputSpec
from src.store.manifest import Manifest

__all__ = ["Agreement", "Answer", "Verification", "answers", "compare", "is_complete", "verify"]

_MAX_OUTPUT: Final = 1e-2  # of the largest output, or of 1 if that is smaller: some code lets torch compute in bf16
_MAX_PROBABILITY: Final = 1e-4
_MAX_HEAT: Final = 1e-3
_MIN_SUM: Final = 1e-5  # of the gradient over all positions, of the sum of its absolute values: less is rounding
_MAX_REMAINDER: Final = 1e-4  # of the largest logit without its bias


@dataclass(frozen=True, slots=True)
class Verification:
    """The largest differences between the outputs of the original network and of its captured form.

    ``captured`` is that of the whole graph, ``cut`` that of the head, run on the features.
    """

    captured: float
    cut: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest differences between a runtime and torch, in a probability and in a heatmap value.

    ``complete`` is whether the Grad-CAM map of each class, summed, plus the bias was its logit.
    """

    probability: float
    heat: float
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of torch for an image: the logits (C,), and the heatmap (h, w) of the class ``class_index``.

    ``bias`` (C,) holds the logits of features that are zero everywhere.
    """

    class_index: int
    logits: NDArray[np.float32]
    heat: NDArray[np.float32]
    bias: NDArray[np.float32]


def verify(network: nn.Module, cut: Cut, spec: InputSpec, finish: Callable[[Tensor], Tensor]) -> Verification:
    """Compare the original network with its captured form on seeded random images.

    Args:
        network: The original.
        cut: Its captured form.
        spec: Its input.
        finish: Turns the captured scores into the outputs of ``network``: see :class:`.probabilities.Scores`.

    Raises:
        ModelError: A logit is not finite; the logits do not depend on the image or on the features, or depend on the
            other images of a batch; or the captured form gives other outputs than the original.
    """
    images = random_images(spec)
    unlike = torch.stack([torch.from_numpy(spec.normalize(pixels)) for pixels in _images(spec)])
    with torch.no_grad():
        outputs = network(images)
        features, logits = cut.network()(images)
        behind = cut.head(features)
        together, alone = (cut.network()(some)[1][:1] for some in (unlike, unlike[:1]))
    if not bool(torch.isfinite(logits).all() and torch.isfinite(outputs).all()):
        raise ModelError(f"The network returns logits that are not finite: {_first_damaged(network)}.")
    if bool((logits == logits[0]).all()):
        raise ModelError(
            "The network returns the same logits for every image: it has learned nothing, or its weights are lost."
        )
    if any(_differ(finish(one), outputs) for one in (logits, behind)):
        raise ModelError(
            "The captured network answers differently than the original. If its forward draws random numbers, or"
            " changes what the next call returns, write a class around it whose forward does neither.",
            Remedy("module"),
        )
    if _differ(alone, together):
        raise ModelError(
            "The network answers differently for an image alone than for the same image in a batch, as with a batch"
            " norm without running statistics: write a class whose answer for an image depends only on that image.",
            Remedy("module"),
        )
    _check_weights(cut, _check_gradient(cut.head, features))
    captured, behind = (float((finish(one) - outputs).abs().max()) for one in (logits, behind))
    return Verification(captured, behind)


def _differ(found: Tensor, expected: Tensor) -> bool:
    """Return whether two outputs differ by more than rounding."""
    limit = _MAX_OUTPUT * max(1.0, float(expected.abs().max()))
    return not float((found - expected).abs().max()) <= limit  # negated, so that NaN differs too


def answers(cut: Cut, spec: InputSpec) -> tuple[Answer, ...]:
    """Return the answers of torch for two seeded images, with the head of ``cut`` differentiated automatically."""
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
    """Compare the answers of ``runtime`` for the images of :func:`answers` with those of torch.

    Heatmaps are compared for each way to compute them: the closed form, if there is one, and the gradient.

    Raises:
        ModelError: They differ by more than 1e-4 in a probability or by more than 1e-3 in a heatmap.
    """
    images = _images(manifest.input)
    agreements = [_agreement(runtime, pixels, one, manifest) for pixels, one in zip(images, expected, strict=True)]
    probability, heat = max(one.probability for one in agreements), max(one.heat for one in agreements)
    if not (probability <= _MAX_PROBABILITY and heat <= _MAX_HEAT):  # negated, so that NaN is refused too
        raise ModelError(
            f"In {runtime.graphs.name} the network answers differently than in torch:"
            f" probabilities differ by up to {probability:.1g}, heatmap values by up to {heat:.1g}."
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
    r"""Return whether :math:`\sum_{kij} \alpha_k A_{kij}` plus the bias is the logit, for every class.

    Args:
        found: The result of a network for an image.
        bias: (C,) the logits of maps that are zero everywhere.
    """
    totals = found.features.sum(axis=(1, 2), dtype=np.float64)
    explained = found.logits.astype(np.float64) - bias
    most = _MAX_REMAINDER * np.abs(explained).max()
    return all(abs(found.weights(index) @ totals - one) <= most for index, one in enumerate(explained))


def _images(spec: InputSpec) -> Iterator[NDArray[np.uint8]]:
    """Yield pixels (H, W, C) of noise and of a color ramp."""
    channels, height, width = spec.shape
    noise = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    yield noise
    yield np.linspace(noise[0, 0], noise[-1, -1], height * width).reshape(noise.shape).astype(np.uint8)


def _first_damaged(network: nn.Module) -> str:
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            return f"the tensor {name} holds NaN or infinity, so use a checkpoint from before it diverged"
    return "its weights are too large for its data type"


def _check_gradient(head: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    leaf = features.clone().requires_grad_()
    try:
        (gradient,) = torch.autograd.grad(head(leaf).max(dim=1).values.sum(), leaf)
    except RuntimeError as exc:  # detached, or an operation without a derivative
        raise ModelError(
            "The logits of the network have no derivative by its features, so Grad-CAM cannot explain them: write a"
            " class whose forward neither detaches them nor turns them into decisions.",
            Remedy("module"),
        ) from exc
    if not torch.isfinite(gradient).all():
        raise ModelError("The gradient of the network's logits is not finite, so Grad-CAM cannot explain them.")
    if not gradient.any():
        raise ModelError("The logits of the network do not depend on its features, so Grad-CAM cannot explain them.")
    return gradient


def _check_weights(cut: Cut, gradient: Tensor) -> None:
    maps = cut.layout.fold(gradient)
    if maps.sum(dim=(2, 3)).abs().max() <= _MIN_SUM * maps.abs().sum(dim=(2, 3)).max():
        raise ModelError(
            f"The logits do not change with the mean of any map of {cut.layer}, as behind an instance norm or if only"
            " its deviation is read, so Grad-CAM's weights are all zero: choose another layer.",
            Remedy("layer"),
        )

"""A stored network, running: pixels -> features, logits, and for any class what Grad-CAM needs."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from src.runtimes.closed_form import ClosedForm
from src.stages.features import FeatureLayout
from src.store.manifest import RuntimeName

__all__ = ["Array", "Evaluation", "Graphs", "Precision", "Runtime"]

Precision = Literal["fp32", "bf16"]
Array = NDArray[np.float32]


class Graphs(Protocol):
    """The graphs of a stored network on a device; safe to use from several threads at once."""

    @property
    def name(self) -> RuntimeName:
        """What runs them."""

    @property
    def precision(self) -> str:
        """In what numbers the network computes, fp32 or bf16; the gradient is always in fp32."""

    @property
    def device(self) -> str:
        """Where, cpu or cuda."""

    def network(self, pixels: NDArray[np.uint8]) -> tuple[Array, ...]:
        """Run the network on ``pixels`` (N, H, W, C): features (N, ...), hidden activations (N, ...), logits (N, C)."""

    def gradient(self, features: Array, direction: Array) -> Array:
        """Return the gradient, (N, ...) as the features, of the scores weighted by ``direction`` (N, C)."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network makes of one image: the scores y (C,) before softmax, and what explains them."""

    logits: Array
    _raw: Array
    _hidden: tuple[Array, ...]
    _runtime: "Runtime"

    @property
    def features(self) -> Array:
        """The feature maps A (K, h, w) of the Grad-CAM layer."""
        maps: Array = self._runtime.layout.fold(self._raw)[0]
        return maps

    def weights(self, class_index: int, versus: int | None = None) -> Array:
        """Return the Grad-CAM weight (K,) of each map for a class: the mean of dy/dA_k over all positions.

        With ``versus``, another class, it is the difference of the two scores that is y.
        """
        form = self._runtime.closed_form
        if form is None:
            mean: Array = self.gradient(class_index, versus).mean(axis=(1, 2))
            return mean
        _, height, width = self._runtime.layout.shape
        weights = form.weights(class_index, self._hidden, height * width)
        return weights if versus is None else weights - form.weights(versus, self._hidden, height * width)

    def gradient(self, class_index: int, versus: int | None = None) -> Array:
        """Return the gradient of that score with respect to the maps, dy/dA, (K, h, w)."""
        direction = np.zeros((1, self.logits.size), np.float32)
        direction[0, class_index] = 1
        if versus is not None:
            direction[0, versus] = -1
        maps: Array = self._runtime.layout.fold(self._runtime.graphs.gradient(self._raw, direction))[0]
        return maps


@dataclass(frozen=True, slots=True)
class Runtime:
    """A network on the device where it runs; safe to use from several threads at once.

    ``closed_form`` gives the weights of a class where its head has one, for less than the gradient.
    """

    graphs: Graphs
    layout: FeatureLayout
    closed_form: ClosedForm | None = None

    @property
    def name(self) -> RuntimeName:
        """What runs it."""
        return self.graphs.name

    @property
    def precision(self) -> str:
        """In what numbers it computes, fp32 or bf16."""
        return self.graphs.precision

    @property
    def device(self) -> str:
        """Where, cpu or cuda."""
        return self.graphs.device

    def evaluate(self, pixels: NDArray[np.uint8]) -> Evaluation:
        """Run the network on ``pixels`` (H, W, C) of its input size."""
        features, *hidden, logits = self.graphs.network(pixels[None])
        return Evaluation(logits[0], features, tuple(one[0] for one in hidden), self)

"""The interface of a running network: from pixels to features, logits, and the gradient of any class score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from src.stages.features import FeatureLayout
from src.store.manifest import RuntimeName

__all__ = ["Array", "Evaluation", "Graphs", "Precision", "Runtime"]

Precision = Literal["fp32", "bf16"]
Array = NDArray[np.float32]


class Graphs(Protocol):
    """The graphs of a stored network on a device; safe to use from several threads at the same time."""

    @property
    def name(self) -> RuntimeName:
        """Name of the runtime, openvino or torch."""

    @property
    def precision(self) -> str:
        """Precision of the network, fp32 or bf16; the gradient is always computed in fp32."""

    @property
    def device(self) -> str:
        """Device of the graphs, cpu or cuda."""

    def network(self, pixels: NDArray[np.uint8]) -> tuple[Array, ...]:
        """Run the network on ``pixels`` (N, H, W, C): features (N, ...), hidden activations (N, ...), logits (N, C)."""

    def gradient(self, features: Array, direction: Array) -> Array:
        """Return the gradient, in the shape of the features, of the sum of scores weighted by ``direction`` (N, C)."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of a network for one image: the logits y (C,), the features, and the gradients of the logits."""

    logits: Array
    _raw: Array
    _hidden: tuple[Array, ...]
    _runtime: "Runtime"

    @property
    def features(self) -> Array:
        """The feature maps A (K, h, w) of the Grad-CAM layer."""
        maps: Array = self._runtime.layout.fold(self._raw)[0]
        return maps

    @property
    def pooled(self) -> Array:
        """The mean (K,) of each map over all positions."""
        maps = self.features
        mean: Array = np.einsum("khw->k", maps) / np.float32(maps[0].size)  # mean() takes eight times as long
        return mean

    def weights(self, class_index: int, versus: int | None = None) -> Array:
        """Return the Grad-CAM weight (K,) of each map for a class: the mean of dy/dA_k over all positions.

        With ``versus``, another class, y is the difference of the two scores.
        """
        closed_form = self._runtime.closed_form
        if closed_form is None:
            mean: Array = self.gradient(class_index, versus).mean(axis=(1, 2))
            return mean
        _, height, width = self._runtime.layout.shape
        summed: Array = closed_form(self._direction(class_index, versus), *self._hidden)[0]
        weights: Array = summed / np.float32(height * width)
        return weights

    def gradient(self, class_index: int, versus: int | None = None) -> Array:
        """Return the gradient of the same score y with respect to the maps, dy/dA, (K, h, w)."""
        direction = self._direction(class_index, versus)
        maps: Array = self._runtime.layout.fold(self._runtime.graphs.gradient(self._raw, direction))[0]
        return maps

    def _direction(self, class_index: int, versus: int | None) -> Array:
        """Return the weight of each logit in the explained score, (1, C)."""
        direction = np.zeros((1, self.logits.size), np.float32)
        direction[0, class_index] = 1
        if versus is not None:
            direction[0, versus] = -1
        return direction


@dataclass(frozen=True, slots=True)
class Runtime:
    """A network on its device; safe to use from several threads at the same time.

    If the head has a closed form, ``closed_form`` maps directions (N, C) and hidden activations to the gradient summed
    over all positions, (N, K), at a lower cost than the gradient itself.
    """

    graphs: Graphs
    layout: FeatureLayout
    closed_form: Callable[..., Array] | None = None

    def evaluate(self, pixels: NDArray[np.uint8]) -> Evaluation:
        """Run the network on ``pixels`` (H, W, C) of its input size."""
        return self.evaluate_batch(pixels[None])[0]

    def evaluate_batch(self, pixels: NDArray[np.uint8]) -> list[Evaluation]:
        """Run the network on ``pixels`` (N, H, W, C); return one evaluation for each image."""
        features, *hidden, logits = self.graphs.network(pixels)
        return [
            Evaluation(logits[row], features[row : row + 1], tuple(one[row : row + 1] for one in hidden), self)
            for row in range(len(pixels))
        ]

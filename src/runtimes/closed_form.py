"""Grad-CAM weights without a backward pass, for heads of pooling and linear layers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

__all__ = ["ClosedForm"]

_NAME: Final = "layer{}"
_COPY_COST: Final = 3  # a selected row is read, written and read again


@dataclass(frozen=True, slots=True)
class ClosedForm:
    r"""The matrices that determine the Grad-CAM weights of a head ``pool -> (linear -> ReLU)* -> linear``.

    The gradient of each channel, summed over its positions, is the gradient of the pooled value, so there is no need to
    differentiate the pooling. With the score :math:`d \cdot y` (:math:`d` is one for a class and zero for the others),
    the last layer's matrix :math:`W_n`, the hidden layers' :math:`W_i` and their activations :math:`h_i`,
    :math:`g_n = d W_n` and :math:`g_{i-1} = (g_i * [h_i > 0]) W_i`, the weights are :math:`\alpha = g_0 / hw`. With
    pooling and no hidden layer this is CAM: Zhou et al., https://arxiv.org/abs/1512.04150.

    ``layers``: the matrices (outputs, inputs) in the order of the head. If the first one had the flattened map as its
    input, its columns are summed over the positions, so that its inputs are the K channels. The outputs of the last
    one are the classes.
    """

    layers: tuple[NDArray[np.float32], ...]

    def gradient(self, direction: NDArray[np.float32], *hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return :math:`g_0`, (N, K): the gradient of the score of each image, summed over all positions.

        Args:
            direction: (N, C), the weight of each logit in the score.
            hidden: The activations (N, ...) after the ReLU of each hidden layer, in the order of the head.
        """
        gradient = direction
        for layer, activations in zip(reversed(self.layers), (None, *reversed(hidden)), strict=True):
            if activations is not None:
                gradient = np.where(activations > 0, gradient, np.float32(0))
            active = np.flatnonzero(gradient.any(axis=0))
            if _COPY_COST * active.size < len(layer):  # skip the rows of the others
                gradient = gradient[:, active] @ layer[active]
            else:
                gradient = gradient @ layer
        return gradient

    def save(self, file: Path) -> None:
        """Write the matrices to ``file``."""
        save_file({_NAME.format(index): np.ascontiguousarray(layer) for index, layer in enumerate(self.layers)}, file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read the matrices that :meth:`save` wrote."""
        stored = load_file(file)
        return cls(tuple(stored[_NAME.format(index)] for index in range(len(stored))))

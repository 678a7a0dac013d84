"""Grad-CAM weights without a backward pass, for heads that pool the features and go on with linear layers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

__all__ = ["ClosedForm"]

_NAME: Final = "layer{}"
_COPY_COST: Final = 3  # a row that is picked out is read, written and read again


@dataclass(frozen=True, slots=True)
class ClosedForm:
    r"""The matrices that give the Grad-CAM weights of a head ``pool -> (linear -> ReLU)* -> linear``.

    Pooling hands every channel's gradient on to its positions undiminished, so that their sum needs no way back
    through it. With the score :math:`d \cdot y` (:math:`d` is one for a class and zero for the others), the last
    layer's matrix :math:`W_n`, the hidden layers' :math:`W_i` and their activations :math:`h_i`, :math:`g_n = d W_n`
    and :math:`g_{i-1} = (g_i * [h_i > 0]) W_i`, the weights are :math:`\alpha = g_0 / hw`. Pooled and with no hidden
    layer that is CAM: Zhou et al., https://arxiv.org/abs/1512.04150.

    ``layers``: the matrices (outputs, inputs) in the order of the head; where the flattened map was the input of the
    first one, its columns are summed over the positions, so that its inputs are the K channels. The last one's outputs
    are the classes.
    """

    layers: tuple[NDArray[np.float32], ...]

    def gradient(self, direction: NDArray[np.float32], *hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return :math:`g_0`, (N, K): the gradient of the score of each image, summed over all positions.

        Args:
            direction: (N, C), what counts for how much in the score.
            hidden: The activations (N, ...) behind the ReLU of each hidden layer, in the order of the head.
        """
        gradient = direction
        for layer, activations in zip(reversed(self.layers), (None, *reversed(hidden)), strict=True):
            if activations is not None:
                gradient = np.where(activations > 0, gradient, np.float32(0))
            active = np.flatnonzero(gradient.any(axis=0))
            if _COPY_COST * active.size < len(layer):  # the rows of the others need not be read
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

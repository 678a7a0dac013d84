"""Grad-CAM weights without a backward pass, for heads that pool the features and go on with linear layers."""

from collections.abc import Sequence
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
    through it. With the last layer's matrix :math:`W_n`, the hidden layers' :math:`W_i` and their activations
    :math:`h_i`, :math:`g_n = W_n[c]` and :math:`g_{i-1} = W_i^T (g_i * [h_i > 0])`, the weights are
    :math:`\alpha = g_0 / hw`. Pooled and with no hidden layer that is CAM: Zhou et al., https://arxiv.org/abs/1512.04150.

    ``layers``: the matrices (outputs, inputs) in the order of the head; where the flattened map was the input of the
    first one, its columns are summed over the positions, so that its inputs are the K channels. The last one's outputs
    are the classes.
    """

    layers: tuple[NDArray[np.float32], ...]

    def weights(self, class_index: int, hidden: Sequence[NDArray[np.float32]], positions: int) -> NDArray[np.float32]:
        """Return the Grad-CAM weight (K,) of each channel: the mean of the class's gradient over all ``positions``.

        Args:
            class_index: The class, 0 to C - 1.
            hidden: The activations behind the ReLU of each hidden layer, in the order of the head.
            positions: h w, how many positions the map has.
        """
        gradient: NDArray[np.float32] = self.layers[-1][class_index]
        for layer, activations in zip(reversed(self.layers[:-1]), reversed(hidden), strict=True):
            active = np.flatnonzero(activations > 0)
            if _COPY_COST * active.size < activations.size:  # the rows of the others need not be read
                gradient = gradient[active] @ layer[active]
            else:
                gradient = np.where(activations > 0, gradient, np.float32(0)) @ layer
        return gradient / np.float32(positions)

    def save(self, file: Path) -> None:
        """Write the matrices to ``file``."""
        save_file({_NAME.format(index): np.ascontiguousarray(layer) for index, layer in enumerate(self.layers)}, file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read the matrices that :meth:`save` wrote."""
        stored = load_file(file)
        return cls(tuple(stored[_NAME.format(index)] for index in range(len(stored))))

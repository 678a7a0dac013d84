"""Features and the weights of a class -> heatmap of the positions that spoke for it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Heatmap", "gradcam"]


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Grad-CAM of one class: ``values`` is float32 (h, w) in [0, 1]; all zero where nothing spoke for the class."""

    values: NDArray[np.float32]

    @property
    def evidence(self) -> bool:
        """Whether any position spoke for the class."""
        return bool(self.values.any())


def gradcam(features: NDArray[np.float32], weights: NDArray[np.float32]) -> Heatmap:
    r"""Return the Grad-CAM heatmap of one class.

    .. math::
        \alpha_k = \frac{1}{hw} \sum_{ij} \frac{\partial y_c}{\partial A_{kij}}, \qquad
        L = \mathrm{ReLU}\Big(\sum_k \alpha_k A_k\Big), \qquad
        \mathrm{heatmap} = L / \max L

    with the pre-softmax score :math:`y_c` of class c and the feature maps :math:`A_k`.
    Source: Selvaraju et al., Grad-CAM, https://arxiv.org/abs/1610.02391, equations 1 and 2.

    A map without positive evidence stays zero; it is never stretched between its minimum and maximum, which would
    invent evidence.

    Args:
        features: The maps A, (K, h, w).
        weights: Their weights for the class, alpha, (K,).
    """
    channels, height, width = features.shape
    heat = np.maximum(weights @ features.reshape(channels, -1), np.float32(0)).reshape(height, width)
    peak = heat.max()
    return Heatmap(heat / peak if peak > 0 else heat)

"""Features and the head's logits -> heatmap of the positions that spoke for a class."""

from dataclasses import dataclass

import numpy as np
import torch
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


def gradcam(features: torch.Tensor, logits: torch.Tensor, class_index: int) -> Heatmap:
    r"""Return the Grad-CAM heatmap of one class.

    .. math::
        \alpha_k = \frac{1}{hw} \sum_{ij} \frac{\partial y_c}{\partial A_{kij}}, \qquad
        L = \mathrm{ReLU}\Big(\sum_k \alpha_k A_k\Big), \qquad
        \mathrm{heatmap} = L / \max L

    with the pre-softmax score :math:`y_c` of class c and the feature maps :math:`A_k`.
    Source: Selvaraju et al., Grad-CAM, https://arxiv.org/abs/1610.02391, equations 1 and 2.

    Only the way from the features to the logits is differentiated: no gradient reaches a weight. A map without positive
    evidence stays zero; it is never stretched between its minimum and maximum, which would invent evidence.

    Args:
        features: (1, K, h, w), a leaf that requires gradients.
        logits: (C,), computed from ``features``; the graph behind them is kept for further classes.
        class_index: The class c, 0 to C - 1.
    """
    (gradient,) = torch.autograd.grad(logits[class_index], features, retain_graph=True)
    with torch.no_grad():
        alpha = gradient[0].mean(dim=(1, 2))
        heat = torch.einsum("k,khw->hw", alpha, features[0]).relu()
        peak = heat.max()
        if peak > 0:
            heat = heat / peak
    return Heatmap(heat.float().cpu().numpy())

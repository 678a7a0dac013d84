"""Compute heatmaps from features and the gradient of a class score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from src.options import Method

__all__ = ["BY_GRADIENT", "Heatmap", "gradcam", "gradcam_plus_plus", "hirescam", "layercam", "xgradcam"]

Maps: TypeAlias = NDArray[np.float32]
_ZERO: Final = np.float32(0)
_TINY: Final = np.finfo(np.float32).tiny


@dataclass(frozen=True, slots=True)
class Heatmap:
    """The heatmap of one score: ``values`` is float32 (h, w) in [0, 1], all zero if there is no positive evidence."""

    values: Maps

    @property
    def evidence(self) -> bool:
        """Whether any position has positive evidence for the score."""
        return bool(self.values.any())


def gradcam(features: Maps, weights: Maps) -> Heatmap:
    r"""Return the Grad-CAM heatmap of a score.

    .. math::
        \alpha_k = \frac{1}{hw} \sum_{ij} \frac{\partial y}{\partial A_{kij}}, \qquad
        L = \mathrm{ReLU}\Big(\sum_k \alpha_k A_k\Big), \qquad
        \mathrm{heatmap} = L / \max L

    with the score y before softmax and the feature maps :math:`A_k`.
    Source: Selvaraju et al., Grad-CAM, https://arxiv.org/abs/1610.02391, equations 1 and 2.

    A map without positive evidence stays zero; no method stretches a map between its minimum and maximum, which would
    invent evidence.

    Args:
        features: The maps A, (K, h, w).
        weights: Their weights for the score, alpha, (K,).
    """
    channels, height, width = features.shape
    return _scaled((weights @ features.reshape(channels, -1)).reshape(height, width))


def hirescam(features: Maps, gradient: Maps) -> Heatmap:
    r"""Return :math:`\mathrm{ReLU}(\sum_k G_k \odot A_k)`, with the gradient G (K, h, w) of the score.

    Source: Draelos and Carin, HiResCAM, https://arxiv.org/abs/2011.08891, equation 5; with the ReLU of Grad-CAM.
    """
    return _scaled(np.einsum("kij,kij->ij", gradient, features))


def layercam(features: Maps, gradient: Maps) -> Heatmap:
    r"""Return :math:`\mathrm{ReLU}(\sum_k \mathrm{ReLU}(G_k) \odot A_k)`.

    Source: Jiang et al., LayerCAM, IEEE Transactions on Image Processing 30, 2021, equations 6 and 7.
    """
    return hirescam(features, np.maximum(gradient, _ZERO))


def gradcam_plus_plus(features: Maps, gradient: Maps) -> Heatmap:
    r"""Return Grad-CAM with the weights of Grad-CAM++ for the exponential of the score.

    .. math::
        \alpha_{kij} = \frac{G_{kij}^2}{2 G_{kij}^2 + G_{kij}^3 \sum_{ab} A_{kab}}, \qquad
        w_k = \sum_{ij} \alpha_{kij} \, \mathrm{ReLU}(G_{kij})

    where G is not zero. Source: Chattopadhay et al., Grad-CAM++, https://arxiv.org/abs/1710.11063, equations 5 and 19.
    """
    # Reduced by G^2: 1 / (2 + G sum A). The paper does not say what to do if the divisor is not positive: it is kept.
    divisor = 2 + gradient * features.sum(axis=(1, 2), keepdims=True)
    divisor = np.where(np.abs(divisor) < _TINY, np.copysign(_TINY, divisor), divisor)
    return gradcam(features, (np.maximum(gradient, _ZERO) / divisor).sum(axis=(1, 2)))


def xgradcam(features: Maps, gradient: Maps) -> Heatmap:
    r"""Return Grad-CAM with the weights of XGrad-CAM.

    .. math::
        \alpha_k = \frac{\sum_{ij} G_{kij} A_{kij}}{\sum_{ij} A_{kij}}

    The weight of a map whose sum is zero is zero. Source: Fu et al., XGrad-CAM, https://arxiv.org/abs/2008.02312,
    equation 9.
    """
    totals = features.sum(axis=(1, 2))
    products = np.einsum("kij,kij->k", gradient, features)
    return gradcam(features, np.divide(products, totals, out=np.zeros_like(totals), where=np.abs(totals) > _TINY))


BY_GRADIENT: Final[Mapping[Method, Callable[[Maps, Maps], Heatmap]]] = {
    Method.HIRESCAM: hirescam,
    Method.LAYERCAM: layercam,
    Method.GRADCAM_PLUS_PLUS: gradcam_plus_plus,
    Method.XGRADCAM: xgradcam,
}
"""The methods that need the full gradient, which costs more than the weights of Grad-CAM."""


def _scaled(evidence: Maps) -> Heatmap:
    heat = np.maximum(evidence, _ZERO)
    peak = heat.max()
    return Heatmap(heat / peak if peak > 0 else heat)

"""Confidence in an answer: its prediction set, and whether the image resembles the model's training data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from src.stages.output_spec import OutputSpec

__all__ = ["Confidence", "Familiarity", "in_set", "prediction_set"]

_SMALLEST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Confidence:
    """How confident a model is in its answer.

    ``familiar``: whether the image resembles those that the model learned; ``labels``: the classes, most likely first,
    that include the right one in ``coverage`` percent of all cases. None means unknown.
    """

    familiar: bool | None
    labels: tuple[str, ...] | None
    coverage: int | None


@dataclass(frozen=True, slots=True)
class Familiarity:
    r"""Gaussians of the classes, with a shared covariance, over pooled features scaled to length 1.

    The features :math:`z = A / |A|` (K,) are reduced to D sums; each feature is added to one of them with its sign.
    With these sums :math:`s`, the whitening :math:`W` and the whitened mean :math:`m_c = W^T \mu_c` of each class, the
    squared Mahalanobis distance is :math:`\min_c |W^T s - m_c|^2`.
    Mahalanobis++: Mueller and Hein, https://arxiv.org/abs/2505.18032.

    Args:
        places: The sum that each feature belongs to, (K,), 0 to D - 1.
        signs: 1 or -1 for each feature, (K,).
        whitening: (D, D).
        means: (C, D).

    Raises:
        ValueError: The shapes of the arrays do not match, or a value is not finite.
    """

    places: NDArray[np.int64]
    signs: NDArray[np.float32]
    whitening: NDArray[np.float32]
    means: NDArray[np.float32]
    _half_squares: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        width, sums = self.signs.size, len(self.whitening)
        shapes = self.places.shape, self.signs.shape, self.whitening.shape, self.means.shape
        if shapes != ((width,), (width,), (sums, sums), (len(self.means), sums)):
            raise ValueError(f"the shapes {shapes} do not match")
        if not (np.isfinite(self.whitening).all() and np.isfinite(self.means).all() and np.isfinite(self.signs).all()):
            raise ValueError("a number is not finite")
        if self.places.dtype != np.int64 or not ((self.places >= 0) & (self.places < sums)).all():
            raise ValueError("a feature belongs to no sum")
        object.__setattr__(self, "_half_squares", np.einsum("cd,cd->c", self.means, self.means) / 2)

    def distance(self, pooled: NDArray[np.float32]) -> float:
        """Return the squared distance of an image, given the mean of its features over all positions, (K,)."""
        point = self.sums(pooled) @ self.whitening
        nearest = (self._half_squares - self.means @ point).argmin()  # half of |m|^2 - 2 m x + |x|^2, except |x|^2
        apart = self.means[nearest] - point
        return float(apart @ apart)

    def sums(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sums (D,) of features (K,), scaled to length 1."""
        unit = pooled / max(float(np.linalg.norm(pooled)), _SMALLEST)
        return np.bincount(self.places, self.signs * unit, len(self.whitening)).astype(np.float32)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name, each contiguous."""
        named = {"places": self.places, "signs": self.signs, "whitening": self.whitening, "means": self.means}
        return {name: np.ascontiguousarray(array) for name, array in named.items()}

    def save(self, file: Path) -> None:
        """Write the arrays to ``file``."""
        save_file(self.arrays(), file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read the arrays that :meth:`save` wrote."""
        return cls(**load_file(file))


def prediction_set(logits: NDArray[np.float32], output: OutputSpec, threshold: float) -> tuple[int, ...]:
    """Return the prediction set, most likely class first, of an image with these ``logits`` (C,)."""
    held = np.flatnonzero(in_set(output.percents(logits) / 100, threshold))
    return tuple(held[np.argsort(-logits[held], kind="stable")].tolist())


def in_set(likely: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Return for each class, (..., C), whether it is in the set: its probability suffices, or it is the most likely."""
    held: NDArray[np.bool_] = likely >= np.minimum(threshold, likely.max(axis=-1, keepdims=True))
    return held

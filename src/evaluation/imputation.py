"""Fill removed pixels of an image so that the hole does not show."""

from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

__all__ = ["impute"]

# Weights of the eight neighbors.
_NEIGHBOURS: Final = [
    (row, column, 1 / 12 if row and column else 1 / 6)
    for row, column in product((-1, 0, 1), repeat=2)
    if (row, column) != (0, 0)
]


def impute(image: NDArray[np.float64], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return ``image`` (H, W, C) with each pixel of ``hole`` (H, W) set to the weighted mean of its neighbors.

    Neighbors in the hole count with their filled values, which gives a sparse system of linear equations, one for each
    pixel of the hole. Direct neighbors weigh 1/6, diagonal ones 1/12; at the border, only existing neighbors count.
    Source: Rong et al., ROAD, https://arxiv.org/abs/2202.00449, section 4.2, without its noise.

    Args:
        image: Values of any range.
        hole: The pixels to fill, not all of them.
    """
    filled = image.copy()
    rows, columns = hole.nonzero()
    if not rows.size:
        return filled
    numbers = np.full(hole.shape, -1)
    numbers[hole] = own = np.arange(rows.size)
    entries, known, total = [], np.zeros((rows.size, image.shape[2])), np.zeros(rows.size)
    for down, right, weight in _NEIGHBOURS:
        beside = rows + down, columns + right
        inside = (beside[0] >= 0) & (beside[0] < hole.shape[0]) & (beside[1] >= 0) & (beside[1] < hole.shape[1])
        equations, (down_of, right_of) = own[inside], (axis[inside] for axis in beside)
        total[equations] += weight
        missing = hole[down_of, right_of]
        known[equations[~missing]] += weight * image[down_of[~missing], right_of[~missing]]
        entries.append((equations[missing], numbers[down_of[missing], right_of[missing]], -weight))
    entries.append((own, own, 1.0))
    values = np.concatenate([total if weight > 0 else np.full(first.size, weight) for first, _, weight in entries])
    places = tuple(np.concatenate([entry[axis] for entry in entries]) for axis in (0, 1))
    # The matrix is symmetric and diagonally dominant; a suitable ordering without pivoting takes a third of the time.
    system = splu(
        csc_matrix((values, places)),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    filled[hole] = system.solve(known)
    return filled

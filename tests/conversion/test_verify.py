"""The checks that a network passes before it is stored."""

import numpy as np
import pytest

from src.conversion.verify import is_complete


@pytest.mark.parametrize("even", [True, False])
def test_a_map_is_complete_if_it_leaves_nothing_unexplained(rng: np.random.Generator, *, even: bool) -> None:
    """A layer that pools explains its logits position by position; one that weighs positions apart does not."""
    maps, bias = rng.random((4, 3, 5), dtype=np.float32), rng.random(2, dtype=np.float32)
    weights = np.broadcast_to(rng.random((2, 4, 1, 1)), (2, 4, 3, 5)) if even else rng.random((2, 4, 3, 5))
    logits = (weights * maps).sum(axis=(1, 2, 3)) + bias
    alpha = weights.mean(axis=(2, 3))
    assert is_complete(maps, alpha.astype(np.float32), logits.astype(np.float32), bias) is even

"""Recognizing and folding spatial maps."""

import numpy as np
import pytest
import torch

from src.conversion.maps import find_layout

SQUARE, TALL = (224, 224), (256, 128)


@pytest.mark.parametrize(
    ("shape", "input_size", "expected", "placeless"),
    [
        ((512, 7, 7), SQUARE, (512, 7, 7), 0),
        ((7, 7, 768), SQUARE, (768, 7, 7), 0),
        ((196, 64), SQUARE, (64, 14, 14), 0),
        ((197, 64), SQUARE, (64, 14, 14), 1),
        ((201, 768), SQUARE, (768, 14, 14), 5),
        ((1 + 16 * 8, 64), TALL, (64, 16, 8), 1),
        ((8, 4, 96), TALL, (96, 8, 4), 0),
        ((96, 8, 4), TALL, (96, 8, 4), 0),
    ],
)
def test_features_of_every_layout_are_folded_to_maps(
    shape: tuple[int, ...], input_size: tuple[int, int], expected: tuple[int, int, int], placeless: int
) -> None:
    """Channels-first maps, channels-last maps and tokens become (N, K, h, w), in NumPy as in torch."""
    layout = find_layout(shape, input_size)
    assert layout is not None
    assert (layout.shape, layout.placeless) == (expected, placeless)
    features = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    maps = layout.fold(features)
    assert tuple(maps.shape) == (2, *expected)
    np.testing.assert_array_equal(layout.fold(features.numpy()), maps.numpy())


@pytest.mark.parametrize("shape", [(), (5,), (512, 1, 1), (1, 64), (64, 1), (4, 1, 49), (27 * 27 + 39, 49)])
def test_tensors_that_are_not_maps_have_no_layout(shape: tuple[int, ...]) -> None:
    """Vectors, single positions and tokens that do not fill a grid are not maps."""
    assert find_layout(shape, SQUARE) is None


def test_tokens_are_folded_row_by_row() -> None:
    """The first token after the placeless ones is the top left corner, and the next one is to its right."""
    layout = find_layout((1 + 4 * 4, 2), SQUARE)
    assert layout is not None
    tokens = torch.arange(17.0).reshape(1, 17, 1).expand(1, 17, 2)
    assert layout.fold(tokens)[0, 0].tolist() == torch.arange(1.0, 17.0).reshape(4, 4).tolist()

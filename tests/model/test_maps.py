"""Folding features to maps and back."""

import pytest
import torch

from src.model.maps import find_map

SQUARE, TALL = (224, 224), (256, 128)


@pytest.mark.parametrize(
    ("shape", "input_size", "expected"),
    [
        ((2, 512, 7, 7), SQUARE, (512, 7, 7)),
        ((2, 7, 7, 768), SQUARE, (768, 7, 7)),
        ((2, 196, 64), SQUARE, (64, 14, 14)),
        ((2, 197, 64), SQUARE, (65, 14, 14)),
        ((2, 201, 768), SQUARE, (768 + 20, 14, 14)),
        ((2, 1 + 16 * 8, 64), TALL, (65, 16, 8)),
        ((2, 8, 4, 96), TALL, (96, 8, 4)),
        ((2, 96, 8, 4), TALL, (96, 8, 4)),
    ],
)
def test_features_are_folded_and_unfolded(
    shape: tuple[int, ...], input_size: tuple[int, int], expected: tuple[int, int, int]
) -> None:
    """Features of every layout become maps and are, bit for bit, themselves again."""
    folding = find_map(shape, input_size)
    assert folding is not None
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    maps = folding.fold(features)
    assert tuple(maps.shape[1:]) == folding.shape == expected
    assert torch.equal(folding.unfold(maps), features)


@pytest.mark.parametrize(
    "shape", [(), (2, 5), (2, 512, 1, 1), (2, 1, 64), (2, 64, 1), (2, 4, 1, 49), (2, 27 * 27 + 39, 49)]
)
def test_what_is_no_map_is_not_folded(shape: tuple[int, ...]) -> None:
    """Vectors, single positions and numbers of tokens that fill no grid are no maps."""
    assert find_map(shape, SQUARE) is None


def test_tokens_lie_row_by_row() -> None:
    """The token after the placeless ones is the top left corner, the next one is right of it."""
    folding = find_map((1, 1 + 4 * 4, 2), SQUARE)
    assert folding is not None
    tokens = torch.arange(17.0).reshape(1, 17, 1).expand(1, 17, 2)
    assert folding.fold(tokens)[0, 0].tolist() == torch.arange(1.0, 17.0).reshape(4, 4).tolist()


def test_placeless_tokens_get_no_gradient() -> None:
    """Nothing but the maps of placed tokens can count as evidence."""
    folding = find_map((1, 1 + 4 * 4, 2), SQUARE)
    assert folding is not None
    maps = folding.fold(torch.randn(1, 17, 2)).requires_grad_()
    (gradient,) = torch.autograd.grad(folding.unfold(maps).sum(), maps)
    assert gradient[:, : folding.channels].eq(1).all()
    assert not gradient[:, folding.channels :].any()

"""Checks of a network before it is stored."""

import numpy as np
import pytest
import torch
from torch import nn

from src.conversion.capture import capture
from src.conversion.cut import cut
from src.conversion.verify import _check_gradient, is_complete, verify
from src.errors import ModelError
from src.runtimes.base import Evaluation, Runtime
from src.stages.features import FeatureLayout
from tests.conversion.test_probabilities import SPEC, Net
from tests.test_pipeline import red_pipeline


@pytest.mark.parametrize("even", [True, False])
def test_a_map_is_complete_if_it_leaves_nothing_unexplained(rng: np.random.Generator, *, even: bool) -> None:
    """A head with the same weights at all positions is complete; one with different weights is not."""
    maps, bias = rng.random((1, 4, 3, 5), np.float32), rng.random(2, np.float32)
    weights = rng.random((2, 4, 1, 1) if even else (2, 4, 3, 5), np.float32) * np.ones((3, 5), np.float32)
    logits = (weights * maps).sum(axis=(1, 2, 3)) + bias
    layout = FeatureLayout(axes="NKhw", channels=4, height=3, width=5)
    runtime = Runtime(red_pipeline().runtime.graphs, layout, lambda direction: direction @ weights.sum(axis=(2, 3)))
    assert is_complete(Evaluation(logits, maps, (), runtime), bias) is even


def test_a_gradient_that_is_not_finite_is_named_as_such() -> None:
    """A square root at zero has an infinite gradient, which is not the same as logits without features."""
    with pytest.raises(ModelError, match=r"gradient .* is not finite"):
        _check_gradient(torch.sqrt, torch.zeros(1, 2))
    with pytest.raises(ModelError, match="do not depend on its features"):
        _check_gradient(lambda features: 0 * features, torch.ones(1, 2))


def _check_refused(network: nn.Module, message: str) -> None:
    """Check that the captured and cut ``network`` is refused with ``message``."""
    with pytest.raises(ModelError, match=message):
        verify(network, cut(capture(network, SPEC), SPEC), SPEC, nn.Identity())


class _Relative(Net):
    """A network that subtracts the mean map of the batch."""

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores that depend on all images."""
        maps = self.maps(images).relu()
        scores: torch.Tensor = self.head(100 * (maps - maps.mean(0, keepdim=True)).mean((2, 3)))
        return scores


def test_answers_that_depend_on_the_other_images_of_a_batch_are_refused() -> None:
    """The service batches images of different clients, so an answer must not change with them."""
    _check_refused(_Relative(nn.Identity()), "for an image alone than for the same image in a batch")


def test_a_captured_network_with_other_answers_than_the_original_is_refused() -> None:
    """This happens if the forward draws random numbers, which the capture turns into constants."""
    network, other = Net(nn.Identity()), Net(nn.Identity())
    other.head.weight.add_(1)
    parts = cut(capture(network, SPEC), SPEC)
    assert verify(network, parts, SPEC, nn.Identity()).captured < 1e-3
    with pytest.raises(ModelError, match="The captured network answers differently than the original"):
        verify(other, parts, SPEC, nn.Identity())


class _Deviating(Net):
    """A network that reads only how much each map varies."""

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores that stay the same if a map rises everywhere."""
        scores: torch.Tensor = self.head(100 * self.maps(images).flatten(2).std(2))
        return scores


def test_maps_whose_mean_does_not_count_are_refused() -> None:
    """Their Grad-CAM weights are zero up to rounding, whose map would be drawn as evidence."""
    _check_refused(_Deviating(nn.Identity()), r"mean of any map of maps, .* Grad-CAM's weights are all zero")


class _Dropping(Net):
    """A network with a dropout that eval() does not end."""

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores that differ from call to call."""
        scores: torch.Tensor = self.head(nn.functional.dropout(100 * self.maps(images).mean((2, 3))))
        return scores


def test_a_dropout_that_is_always_on_is_named_as_random() -> None:
    """functional.dropout drops in eval mode, too, unless it is told the mode: it is not taken for a batch norm."""
    _check_refused(_Dropping(nn.Identity()), "If its forward draws random numbers")


def test_logits_without_a_derivative_are_refused() -> None:
    """A forward that detaches its scores is one sentence, not a traceback of torch."""
    _check_refused(Net(torch.Tensor.detach), "have no derivative by its features")

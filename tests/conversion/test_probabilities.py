"""Outputs that are already probabilities."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from src.conversion.capture import capture, random_images
from src.conversion.probabilities import find_scores
from src.errors import ModelError
from src.stages.input_spec import InputSpec
from src.stages.output_spec import OutputSpec

SPEC = InputSpec(resize=8, crop=(8, 8), interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))
SOFTMAX = OutputSpec()


class Net(nn.Module):
    """A convolution and a linear layer, whose scores pass through ``last``."""

    def __init__(self, last: Callable[[Tensor], Tensor], outputs: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, outputs)
        self.last = last
        self.eval().requires_grad_(requires_grad=False)

    def scores(self, images: Tensor) -> Tensor:
        """Return the input of ``last``."""
        scores: Tensor = self.head(self.maps(images).relu().mean((2, 3)))
        return scores

    def forward(self, images: Tensor) -> Tensor:
        """Return the output of ``last``."""
        return self.last(self.scores(images))


@pytest.mark.parametrize(
    ("last", "made", "kind"),
    [
        (lambda y: y.softmax(1), "softmax", "softmax"),
        (lambda y: y.softmax(-1).clone().view(-1, 3), "softmax", "softmax"),
        (lambda y: y[:, :, None, None].softmax(-3).flatten(1), "softmax", "softmax"),
        (lambda y: y.log_softmax(1), "log_softmax", "softmax"),
        (lambda y: torch.log(y.softmax(1)), "log_softmax", "softmax"),
        (torch.sigmoid, "sigmoid", "multilabel"),
        (nn.functional.logsigmoid, "log_sigmoid", "multilabel"),
    ],
)
def test_a_final_softmax_or_sigmoid_is_cut_off(last: Callable[[Tensor], Tensor], made: str, kind: str) -> None:
    """The rest returns the scores, the outputs can be computed from them, and sigmoids are multi-label."""
    network, images = Net(last), random_images(SPEC)
    found = find_scores(capture(network, SPEC), SPEC)
    assert found.made == made
    assert found.output(SOFTMAX).kind == kind
    torch.testing.assert_close(found.graph(images), network.scores(images))
    torch.testing.assert_close(found.finish(found.graph(images)), network(images))


def _two_classes(last: Callable[[Tensor], Tensor]) -> Net:
    """Return a network whose only score passes through ``last`` and then becomes the logits of two classes."""
    spread = nn.Linear(1, 2, bias=False)
    spread.weight = nn.Parameter(torch.tensor([[-0.5], [0.5]]), requires_grad=False)
    network = Net(lambda y: spread(last(y).reshape(-1, 1)), 1)
    network.spread = spread
    return network


@pytest.mark.parametrize("last", [torch.sigmoid, lambda y: y.squeeze(1).sigmoid()])
def test_a_sigmoid_before_two_classes_is_cut_off(last: Callable[[Tensor], Tensor]) -> None:
    """The layer that computes the logits of two classes then gets the score instead."""
    network, images = _two_classes(last), random_images(SPEC)
    found = find_scores(capture(network, SPEC), SPEC)
    torch.testing.assert_close(found.graph(images), network.scores(images) * torch.tensor([-0.5, 0.5]))
    torch.testing.assert_close(found.finish(found.graph(images)), network(images))
    torch.testing.assert_close(found.graph(images).softmax(1)[:, 1:], network.scores(images).sigmoid())


@pytest.mark.parametrize("last", [nn.functional.logsigmoid, lambda y: y.sigmoid().log()])
def test_a_logarithm_before_two_classes_is_refused(last: Callable[[Tensor], Tensor]) -> None:
    """It is never positive, so that the second class would never win."""
    with pytest.raises(ModelError, match="only output of the network comes from a log_sigmoid"):
        find_scores(capture(_two_classes(last), SPEC), SPEC)


@pytest.mark.parametrize("last", [lambda y: y, lambda y: y.relu(), lambda y: 3 * y.tanh()])
def test_scores_stay_as_they_are(last: Callable[[Tensor], Tensor]) -> None:
    """A network that returns scores is not changed, whatever their range."""
    whole = capture(Net(last), SPEC)
    assert find_scores(whole, SPEC).graph is whole


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (lambda y: y.exp() / y.exp().sum(1, keepdim=True), "add up to 1"),
        (lambda y: y - y.logsumexp(1, keepdim=True), "add up to 1"),
        (lambda y: y.sigmoid().clamp(0.01, 0.99), "all between 0 and 1"),
        (lambda y: torch.cat([1 - y[:, :1].sigmoid(), y[:, :1].sigmoid()], 1), "add up to 1"),
    ],
)
def test_probabilities_that_cannot_be_cut_off_are_refused(last: Callable[[Tensor], Tensor], message: str) -> None:
    """If the last operation cannot be cut off, the error suggests a module of one's own."""
    with pytest.raises(ModelError, match=message) as refused:
        find_scores(capture(Net(last), SPEC), SPEC)
    assert refused.value.remedies[0].field == "module"


def test_a_softmax_is_not_multilabel() -> None:
    """A stated output kind that the graph contradicts is refused."""
    found = find_scores(capture(Net(lambda y: y.softmax(1)), SPEC), SPEC)
    with pytest.raises(ModelError, match="exclude each other"):
        found.output(OutputSpec(kind="multilabel"))

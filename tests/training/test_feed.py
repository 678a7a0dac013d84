"""The frozen layers, run by several threads."""

import threading
import time

import pytest
import torch

from src.checkpoints.default import default_checkpoint
from src.training.classifier import Classifier
from src.training.dataset import Dataset
from src.training.feed import Front, has_fast_bfloat16, workers
from src.training.recipe import Recipe, new_classifier


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The default network for two classes."""
    recipe = Recipe("timm/tf_efficientnet_lite0", 0, 0.15, default_checkpoint().input, pretrained=True)
    return new_classifier(recipe, Dataset(("a", "b"), (), ()))


@pytest.mark.parametrize(("bfloat16", "tolerance"), [(False, 1e-5), (True, 0.05)])
def test_front_and_learning_layers_form_the_network(classifier: Classifier, bfloat16: bool, tolerance: float) -> None:  # noqa: FBT001 - a parameter of the test
    """Run in sequence, they compute the same as the whole network, in bfloat16 approximately."""
    torch.manual_seed(0)
    torch.nn.init.normal_(classifier.network.get_parameter("classifier.weight"))
    images = torch.randn(3, 3, 224, 224)
    front = Front(classifier.frozen_layers(), torch.device("cpu"), bfloat16=bfloat16)
    with torch.inference_mode():
        whole = classifier.eval()(images)
        parts = classifier.learning_layers()(front(images).float())
    assert (parts - whole).abs().max() < tolerance * whole.abs().max()


def test_the_front_has_no_gradients_and_never_changes() -> None:
    """Its features require no gradient, and changes to the network's weights do not affect them."""
    network = Classifier(architecture="timm/test_resnet", labels=("a", "b"), input={}, frozen=("conv1", "bn1"))
    front = Front(network.frozen_layers(), torch.device("cpu"), bfloat16=False)
    images = torch.randn(2, 3, 32, 32)
    before = front(images)
    assert not before.requires_grad
    with torch.no_grad():
        for layer in network.train().frozen_layers():
            for parameter in layer.parameters():
                parameter.zero_()
    assert torch.equal(front(images), before)


def test_without_frozen_layers_it_returns_the_images() -> None:
    """A network that learns as a whole gets the images themselves."""
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(Front((), torch.device("cpu"), bfloat16=has_fast_bfloat16())(images), images)


def test_the_thread_count_of_torch_is_restored(classifier: Classifier) -> None:
    """Torch has one thread while others run frozen layers, and its usual number afterwards or if there are none."""
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with workers(classifier) as pool:
            assert torch.get_num_threads() == 1
            assert pool.submit(torch.get_num_threads).result() == 1
        with workers(Classifier(architecture="timm/test_resnet", labels=("a", "b"), input={})):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)


def test_workers_finish_only_their_current_tasks(classifier: Classifier) -> None:
    """If training is stopped, queued batches are not computed, and no thread is left running."""
    with workers(classifier) as pool:
        tasks = [pool.submit(time.sleep, 0.05) for _ in range(1000)]
    assert any(task.cancelled() for task in tasks)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]

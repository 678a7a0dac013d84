"""What is trained, and for how long."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision import models

from src.checkpoints.inputs.published import published_input
from src.checkpoints.network import build
from src.errors import ModelError
from src.training.classifier import head_names
from src.training.dataset import Dataset
from src.training.recipe import Earlier, Pace, _fitted, earlier_run, new_classifier, pace, recipe, resume

NOTHING = Namespace(
    arch=None, from_scratch=False, channels=None, seed=None, validation=None, batch_size=None, epochs=None
)
DATASET = Dataset(("a", "b"), (), ())


def earlier(**changed: object) -> Earlier:
    """A run of a tiny network after two epochs."""
    origin = {"seed": 3, "validation": 0.25, "dataset": DATASET.digest}
    hyper_parameters = {"architecture": "timm/test_resnet", "labels": ["a", "b"], "origin": origin}
    return Earlier(Path("last.ckpt"), {**hyper_parameters, **changed}, epochs=2, weights={})


@pytest.mark.parametrize(
    ("photos", "expected"),
    [(1_000_000, Pace(32, 2)), (1255, Pace(32, 2)), (250, Pace(32, 8)), (60, Pace(15, 34)), (1, Pace(4, 40))],
)
def test_few_images_are_repeated_more_often_in_small_batches(photos: int, expected: Pace) -> None:
    """At least 2,000 images are seen in all, counting repetitions, but each at most forty times."""
    assert pace(NOTHING, photos) == expected


def test_given_options_are_kept() -> None:
    """Options override the defaults and the earlier run."""
    given = Namespace(
        arch="test_vit", from_scratch=False, channels=None, seed=0, validation=0.5, batch_size=3, epochs=1
    )
    assert pace(given, 1000) == Pace(3, 1)
    chosen = recipe(given, earlier())
    assert (chosen.architecture, chosen.seed, chosen.validation) == ("timm/test_vit", 0, 0.5)


def test_a_resumed_run_uses_the_earlier_recipe() -> None:
    """Omitted options come from the earlier run; without one, the default network is trained."""
    chosen = recipe(NOTHING, earlier())
    assert (chosen.architecture, chosen.seed, chosen.validation) == ("timm/test_resnet", 3, 0.25)
    assert not chosen.pretrained
    assert recipe(NOTHING, None).pretrained


def test_a_run_from_published_weights_is_not_resumed_from_scratch() -> None:
    """The option would have no effect; for a run from random weights it changes nothing."""
    scratch = Namespace(**{**vars(NOTHING), "from_scratch": True})
    assert not recipe(scratch, earlier()).pretrained
    with pytest.raises(ModelError, match="started from published weights: omit --from-scratch"):
        recipe(scratch, earlier(keep_statistics=True))


def test_the_earlier_run_is_read_from_its_checkpoint(tmp_path: Path) -> None:
    """It has the hyper-parameters and the number of completed epochs, which Lightning counts from 0."""
    file = tmp_path / "last.ckpt"
    torch.save({"hyper_parameters": {"architecture": "x"}, "epoch": 4, "state_dict": {}}, file)
    assert earlier_run(file) == Earlier(file, {"architecture": "x"}, 5, {})


def test_only_the_same_run_can_be_resumed() -> None:
    """Different labels are refused; with equal ones, the classifier gets the weights of the earlier run."""
    classifier = new_classifier(recipe(NOTHING, earlier()), DATASET)
    weights = {name: torch.ones_like(tensor) for name, tensor in classifier.state_dict().items()}
    resume(replace(earlier(), weights=weights), classifier)
    assert all((tensor == 1).all() for tensor in classifier.state_dict().values())
    with pytest.raises(ModelError, match="differs in its labels"):
        resume(earlier(labels=["a", "c"]), classifier)


@pytest.mark.parametrize("architecture", ["torchvision/squeezenet1_1", "timm/test_resnet"])
def test_a_new_head_learns(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes start alike, and the weights of each have a gradient, also if a ReLU follows, as in SqueezeNet."""
    monkeypatch.setattr("src.training.recipe.published_network", build)
    network = new_classifier(recipe(Namespace(**{**vars(NOTHING), "arch": architecture}), None), DATASET).network
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits = network(images)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()  # type: ignore[no-untyped-call]
    (name,) = (name for name in head_names(network) if name.endswith("weight"))
    gradient = network.get_parameter(name).grad
    assert torch.equal(logits[:, 0], logits[:, 1])
    assert gradient is not None
    assert gradient.flatten(1).any(dim=1).all()


def test_the_default_network_takes_gray_images() -> None:
    """With one channel, its logits for a gray image are those for three equal channels."""
    gray = new_classifier(recipe(Namespace(**{**vars(NOTHING), "channels": 1}), None), DATASET).network
    color = new_classifier(recipe(NOTHING, None), DATASET).network
    for network in (gray, color):
        torch.nn.init.normal_(network.get_submodule("classifier").weight, generator=torch.Generator().manual_seed(1))  # type: ignore[arg-type]
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(gray(image), color(image.repeat(1, 3, 1, 1)), atol=1e-3, rtol=1e-3)


def test_published_layers_get_the_gray_images_that_they_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another mean and standard deviation, the first layers would see images of less than half the contrast."""
    network = build("timm/test_efficientnet", 2)
    monkeypatch.setattr("src.training.recipe.published_network", lambda *_: network)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8)
    features = []
    for channels in (1, 3):
        chosen = recipe(Namespace(**{**vars(NOTHING), "arch": "test_efficientnet", "channels": channels}), None)
        image = torch.from_numpy(chosen.input.normalize(pixels.repeat(channels, axis=2)))[None]
        with torch.no_grad():
            features.append(new_classifier(chosen, DATASET).frozen_layers()[0](image))
    apart = (features[0] - features[1]).square().mean().sqrt() / features[1].std()
    assert apart < 0.2


def test_a_stem_that_takes_no_gray_images_is_explained() -> None:
    """The first convolution of TResNet has 16 channels for each color, whose order only its own code knows."""
    with pytest.raises(ModelError, match="for color images only: omit --channels"):
        _fitted(torch.zeros(8, 48, 1, 1), torch.zeros(8, 16, 1, 1))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_that_normalize_images_again_get_these_values(name: str) -> None:
    """The input is what torchvision makes, with its published weights, of images with ImageNet's mean and std."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    own = torch.from_numpy(published_input(f"torchvision/{name}").normalize(pixels))[None]
    again = models.GoogLeNet._transform_input(SimpleNamespace(transform_input=True), own)
    chosen = recipe(Namespace(**{**vars(NOTHING), "arch": name}), None).input
    torch.testing.assert_close(torch.from_numpy(chosen.normalize(pixels))[None], again)


def test_a_resumed_run_keeps_its_preprocessing() -> None:
    """It comes from its checkpoint, whatever is published by now."""
    spec = recipe(NOTHING, None).input.model_copy(update={"mean": (0.1, 0.2, 0.3)})
    assert recipe(NOTHING, earlier(input=spec.model_dump(mode="json"))).input == spec

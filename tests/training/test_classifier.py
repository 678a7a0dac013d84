"""The Lightning module."""

import pytest
import torch
from torch import nn

from src.checkpoints.inputs.published import published_input
from src.checkpoints.network import build
from src.training.classifier import Classifier

TINY = "timm/test_resnet"


def classifier(architecture: str = TINY, **options: object) -> Classifier:
    """A classifier for three classes with random weights, the same in every run."""
    torch.manual_seed(0)
    spec = published_input(architecture).model_dump(mode="json")
    return Classifier(architecture=architecture, labels=("a", "b", "c"), input=spec, **options)  # type: ignore[arg-type]


def plain(value: object) -> bool:
    """Return whether a value consists of plain types only."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or type(value) in {str, int, float, bool}


def test_its_tensors_are_those_of_the_network() -> None:
    """The state dict is the network's own, with the prefix 'network.'."""
    state = classifier().state_dict()
    assert {name.removeprefix("network.") for name in state} == set(build(TINY, 3).state_dict())
    assert all(name.startswith("network.") for name in state)


def test_hyper_parameters_are_plain() -> None:
    """Tuples become lists, so that a checkpoint can be read without an allowlist of types."""
    hparams = dict(classifier(frozen=("conv1",), origin={"seed": 1}).hparams)
    assert plain(hparams)
    assert hparams["architecture"] == TINY
    assert hparams["labels"] == ["a", "b", "c"]


@pytest.mark.parametrize("architecture", [TINY, "torchvision/squeezenet1_1", "timm/test_vit"])
def test_it_computes_what_the_network_computes(architecture: str) -> None:
    """The logits are the network's, for networks of both libraries."""
    module = classifier(architecture).eval()
    images = torch.randn(2, 3, *published_input(architecture).crop)
    with torch.inference_mode():
        torch.testing.assert_close(module(images), module.network(images))
        assert module(images).shape == (2, 3)


def test_frozen_layers_do_not_learn() -> None:
    """Only parameters of the other layers require gradients."""
    module = classifier(frozen=("conv1", "bn1"))
    learning = {name for name, parameter in module.network.named_parameters() if parameter.requires_grad}
    assert learning
    assert not any(name.startswith(("conv1.", "bn1.")) for name in learning)


def test_frozen_and_learning_layers_form_the_network() -> None:
    """Run in sequence, they give the logits of the network, in the network's mode."""
    module = classifier(frozen=("conv1", "bn1", "act1", "maxpool")).eval()
    features = images = torch.randn(2, 3, 64, 64)
    for layer in module.frozen_layers():
        features = layer(features)
    assert features.shape[2:] == (16, 16)
    torch.testing.assert_close(module.learning_layers()(features), module(images))
    assert module.train().learning_layers().training


def test_the_learning_layers_share_the_weights() -> None:
    """They have the network's own tensors, and leave its names and layers unchanged."""
    module = classifier(frozen=("conv1", "bn1"))
    before = list(module.state_dict())
    part = module.learning_layers()
    assert part.get_parameter("fc.weight") is module.network.get_parameter("fc.weight")
    assert not list(part.get_submodule("conv1").parameters())
    assert list(module.state_dict()) == before


@pytest.mark.parametrize("keep", [True, False])
def test_batch_norms_keep_their_statistics_on_request(keep: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """With keep_statistics, a forward pass in training mode changes no running mean."""
    module = classifier(keep_statistics=keep).train()
    norms = [layer for layer in module.network.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
    module(torch.randn(4, 3, 64, 64))
    after = [norm.running_mean for norm in norms if norm.running_mean is not None]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True)) is keep


def test_the_head_learns_fastest_and_only_matrices_decay() -> None:
    """The last layer has the full rate, all others a share of it; biases and norms have no weight decay."""
    module = classifier(learning_rate=0.01, backbone_rate=0.1, weight_decay=0.5)
    names = {id(parameter): name for name, parameter in module.network.named_parameters()}
    seen = set()
    for group in module._parameter_groups():
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.add(name)
            assert group["lr"] == pytest.approx(0.01 if name.startswith("fc.") else 0.001)
            assert group["weight_decay"] == (0.5 if parameter.ndim > 1 else 0.0)
    assert seen == set(names.values())


def test_each_class_of_a_multi_label_network_is_learned_separately() -> None:
    """The loss is the binary cross-entropy, and an image is correct if all its labels are."""
    module = classifier(output={"kind": "multilabel"})
    logits = torch.tensor([[2.0, -1.0, 0.5], [-1.0, -1.0, 3.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    likely = logits.double().sigmoid()
    expected = -(targets * likely.log() + (1 - targets) * (1 - likely).log()).mean()
    torch.testing.assert_close(module._loss(logits, targets, 0.0).double(), expected, atol=1e-6, rtol=1e-6)
    assert module.right(logits, targets).tolist() == [True, False]

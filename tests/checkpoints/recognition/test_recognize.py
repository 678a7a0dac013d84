"""Recognizing the network that tensors belong to, with any head, or asking."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import nn
from torchvision import models

from src.checkpoints.given import Activation, Asked, Given
from src.checkpoints.network import build
from src.checkpoints.recognition.bodies import find_bodies
from src.checkpoints.recognition.heads import ACTIVATIONS
from src.checkpoints.recognition.recognize import Recognized, recognize
from src.errors import ModelError, Remedy

CLASSES = 7
torch.manual_seed(0)
RESNET = {name: tensor.clone() for name, tensor in build("torchvision/resnet18", CLASSES).state_dict().items()}
BODY = {name: tensor for name, tensor in RESNET.items() if not name.startswith("fc.")}
EXTRAS = {
    "loss.weight": torch.ones(CLASSES),
    "accuracy.total": torch.tensor(3),
    "step": torch.tensor(1),
    "class_weights": torch.ones(CLASSES),
    "criterion.pos_weight": torch.ones(CLASSES),
    "cross_entropy.weight": torch.ones(CLASSES),
    "ce.weight": torch.ones(CLASSES),
    "center_loss.centers": torch.ones(CLASSES, 512),
}
IMAGES = torch.randn(2, 3, 64, 64)


def found(tensors: dict[str, torch.Tensor], **asked: str) -> Recognized:
    """Return the recognized network."""
    recognized = recognize(tensors, Asked(Given(**asked)))  # type: ignore[arg-type] # only names are given
    assert recognized is not None
    return recognized


def refused(tensors: dict[str, torch.Tensor], **asked: str) -> ModelError:
    """Return the error that refuses a network."""
    with pytest.raises(ModelError) as error:
        found(tensors, **asked)
    return error.value


def behind(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors with a prefix before their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def linear(name: str, width: int, classes: int, *, bias: bool = True) -> dict[str, torch.Tensor]:
    """Return the tensors of a linear layer."""
    return behind(name, dict(nn.Linear(width, classes, bias=bias).state_dict()))


def answers(network: nn.Module) -> torch.Tensor:
    """Return a network's output for noise."""
    with torch.inference_mode():
        return network.eval()(IMAGES)  # type: ignore[no-any-return] # every network gives tensors


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda name: name,
    "model": lambda name: f"model.{name}",
    "net": lambda name: f"net.{name}",
    "backbone": lambda name: f"backbone.{name}",
    "DDP": lambda name: f"module.{name}",
    "compiled": lambda name: f"_orig_mod.{name}",
    "nested": lambda name: f"model.net.{name}",
    "compiled in DDP in Lightning": lambda name: f"model.module._orig_mod.{name}",
    "compiled inside": lambda name: name.replace("layer1.", "layer1._orig_mod."),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("extras", [{}, EXTRAS], ids=["alone", "with extras"])
def test_a_network_is_found_under_any_prefix(spelling: Callable[[str], str], extras: dict[str, torch.Tensor]) -> None:
    """Architecture, classes and tensors are found under every usual prefix; unrelated tensors are left out."""
    recognized = found({spelling(name): tensor for name, tensor in RESNET.items()} | extras)
    assert recognized.architecture == "torchvision/resnet18"
    assert "timm/resnet18" in recognized.notes[0].sentence
    assert recognized.num_classes == CLASSES
    assert set(recognized.left_out) == set(extras)
    loaded = recognized.network.state_dict()
    assert loaded.keys() == RESNET.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in RESNET.items())


@pytest.mark.parametrize(
    "architecture",
    [
        "torchvision/squeezenet1_1",
        "torchvision/mobilenet_v3_small",
        "torchvision/densenet121",
        "torchvision/swin_t",
        "torchvision/regnet_y_400mf",
        "timm/convnext_atto",
        "timm/deit_tiny_patch16_224",
        "timm/mixer_s32_224",
        "timm/mobilenetv4_conv_small",
    ],
)
def test_networks_of_every_kind_are_recognized(architecture: str) -> None:
    """The network that the tensors are from is among the candidates, with its number of classes."""
    recognized = found(build(architecture, CLASSES).state_dict(), architecture=architecture)
    assert recognized.num_classes == CLASSES
    (body,) = find_bodies(build(architecture, CLASSES).state_dict())
    assert architecture in body.architectures
    assert body.is_complete


@pytest.mark.parametrize("copy", ["ema_model", "ema.module", "averaged_model.module", "model_ema"])
def test_an_average_is_not_taken_for_the_network(copy: str) -> None:
    """The network is preferred to its moving average, whichever comes first."""
    average = {f"{copy}.{name}": torch.zeros_like(tensor) for name, tensor in RESNET.items()}
    for tensors in (average | behind("model", RESNET), average | RESNET):
        recognized = found(tensors)
        assert torch.equal(recognized.network.state_dict()["conv1.weight"], RESNET["conv1.weight"])
        assert set(recognized.left_out) == set(average)


@pytest.mark.parametrize("other", ["teacher", "momentum_encoder", "semantic_model", "b"])
def test_a_second_network_is_asked_about(other: str) -> None:
    """Neither of two networks is chosen unless it is named; the error names both."""
    tensors = behind("model", RESNET) | behind(other, {name: tensor.clone() for name, tensor in RESNET.items()})
    assert {Remedy("network", "model"), Remedy("network", other), Remedy("module")} == set(refused(tensors).remedies)
    assert set(found(tensors, network="model").left_out) == {name for name in tensors if name.startswith(other)}


def test_another_name_for_the_same_memory_is_not_a_second_network() -> None:
    """A network that is registered twice, or also as its children, is one network."""
    network = build("torchvision/resnet18", CLASSES)
    children = nn.Sequential(*list(network.children())[:-2])
    tensors = behind("model", dict(network.state_dict())) | behind("feature_map", dict(children.state_dict()))
    assert found(tensors).num_classes == CLASSES


@pytest.mark.parametrize(
    "extra",
    [
        linear("fc2", 512, 3),
        {"gem.p": torch.ones(1)},
        {"avg_pool.p": torch.ones(1)},
        {"temperature": torch.ones(1)},
        behind("norm", dict(nn.LayerNorm(512).state_dict())),
        {"layer1.0.ca.fc.weight": torch.ones(4, 64, 1, 1)},
        {"arcface_loss.W": torch.ones(CLASSES, 90)},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_tensors_that_could_affect_the_answer_are_refused(extra: dict[str, torch.Tensor]) -> None:
    """A complete network beside tensors that could change its answers is refused; the error names them."""
    error = refused(behind("model", RESNET) | extra)
    assert next(iter(extra)).rpartition(".")[0] in str(error)
    assert error.remedies == (Remedy("network", "model"), Remedy("module"))


@pytest.mark.parametrize("extra", ["model.layer1.0.ca.fc.weight", "model.avgpool.p"])
def test_foreign_tensors_inside_a_network_need_the_class(extra: str) -> None:
    """Tensors inside a complete network that are not its own change it, whatever the options are."""
    tensors = behind("model", RESNET) | {extra: torch.ones(1)}
    for asked in ({}, {"network": "model"}, {"architecture": "torchvision/resnet18"}):
        assert refused(tensors, **asked).remedies == (Remedy("module"),)


def test_a_larger_network_is_not_cut_down() -> None:
    """The tensors of resnet34 contain all of resnet18's: they are not taken for resnet18, even if it is named."""
    tensors = behind("model", dict(build("torchvision/resnet34", CLASSES).state_dict()))
    refused(tensors, architecture="torchvision/resnet18", network="model")


def test_a_layer_after_the_logits_is_asked_about() -> None:
    """A layer that takes the network's own outputs is part of it once the activation in between is known."""
    network = nn.Sequential(models.resnet18(num_classes=20), nn.LeakyReLU(), nn.Linear(20, 3))
    tensors = dict(network.state_dict())
    assert refused(tensors).remedies == (Remedy("activation", "relu"), Remedy("module"))
    assert torch.equal(answers(found(tensors, activation="leaky_relu").network), answers(network))


class Extractor(nn.Module):
    """Children of a ResNet and a layer beside them, as in Lightning's documentation."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential(*list(models.resnet18().children())[:-1])
        self.classifier = nn.Linear(512, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.classifier(self.feature_extractor(images).flatten(1))  # type: ignore[no-any-return]


class Beside(nn.Module):
    """A network whose own last layer was removed, and a head beside it."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.head(self.backbone(images))  # type: ignore[no-any-return] # every head gives tensors


def _replaced(name: str, layer: str, by: nn.Module) -> nn.Module:
    network: nn.Module = models.get_model(name, weights=None)
    network.set_submodule(layer, by)
    return network


FEATURES: dict[str, Callable[[], nn.Module]] = {
    "children": Extractor,
    "fc = Identity": lambda: Beside(_replaced("resnet18", "fc", nn.Identity()), nn.Linear(512, 3)),
    "num_classes=0": lambda: Beside(build("timm/test_resnet", 0), nn.Sequential(nn.Dropout(), nn.Linear(96, 3))),
    "vit": lambda: Beside(build("timm/convnext_atto", 0), nn.Linear(320, 3)),
    "dropout inside": lambda: _replaced("resnet18", "fc", nn.Sequential(nn.Dropout(), nn.Linear(512, 3))),
    "whole classifier": lambda: _replaced("mobilenet_v3_small", "classifier", nn.Linear(576, 3)),
    "its last layer": lambda: _replaced("mobilenet_v3_small", "classifier.3", nn.Sequential(nn.Linear(1024, 3))),
    "flattened": lambda: Beside(
        nn.Sequential(*list(models.alexnet().children())[:-1], nn.Flatten()), nn.Linear(9216, 3)
    ),
}


@pytest.mark.parametrize("make", FEATURES.values(), ids=FEATURES)
def test_one_layer_on_the_features_is_the_head(make: Callable[[], nn.Module]) -> None:
    """One linear layer on pooled features is the head, wherever it is: the answers equal the module's."""
    network = make()
    tensors = behind("net", dict(network.state_dict()))
    recognized = found(tensors)
    assert torch.allclose(answers(recognized.network), answers(network), atol=1e-6)
    assert recognized.notes[1].sentence.startswith("read as: ")
    assert recognized.left_out == ()


MLPS: dict[str, nn.Module] = {
    "plain": nn.Sequential(nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 3)),
    "dropout": nn.Sequential(nn.Dropout(), nn.Linear(512, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 3)),
    "norm first": nn.Sequential(nn.Linear(512, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3)),
    "norm last": nn.Sequential(nn.Linear(512, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 3)),
    "no bias": nn.Sequential(nn.Linear(512, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3)),
}


@pytest.mark.parametrize("head", MLPS.values(), ids=MLPS)
def test_several_layers_ask_for_the_activation(head: nn.Module) -> None:
    """The activation of a head with several layers is asked for; with it, the answers equal the module's."""
    network = _replaced("resnet18", "fc", head)
    assert refused(dict(network.state_dict())).remedies == (Remedy("activation", "relu"), Remedy("module"))
    recognized = found(dict(network.state_dict()), activation="relu")
    assert torch.allclose(answers(recognized.network), answers(network), atol=1e-6)


UNCERTAIN: dict[str, nn.Module] = {
    "two gaps around a norm": nn.Sequential(
        nn.Linear(512, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Dropout(), nn.Linear(32, 3)
    ),
    "two heads": nn.ModuleDict({"age": nn.Linear(512, 5), "gender": nn.Linear(512, 2)}),
    "twice the features": nn.Linear(1024, 3),
    "a layer norm": nn.Sequential(nn.LayerNorm(512), nn.Linear(512, 3)),
    "another width": nn.Linear(100, 3),
    "nothing": nn.Identity(),
}


@pytest.mark.parametrize("head", UNCERTAIN.values(), ids=UNCERTAIN)
def test_ambiguous_heads_need_the_class(head: nn.Module) -> None:
    """A head with several readings is refused, with or without an activation."""
    tensors = BODY | behind("head", dict(head.state_dict()))
    assert refused(tensors).remedies == (Remedy("module"),)
    assert refused(tensors, activation="relu").remedies == (Remedy("module"),)


def test_adjacent_layers_have_no_activation_between() -> None:
    """Two linear layers that are neighbors in a Sequential are not asked about."""
    network = _replaced("resnet18", "fc", nn.Sequential(nn.Linear(512, 32), nn.Linear(32, 3)))
    assert torch.allclose(answers(found(dict(network.state_dict())).network), answers(network), atol=1e-6)


def test_a_layer_without_a_bias_is_asked_about() -> None:
    """A matrix may be a cosine head: it is a plain linear layer only if the user says so."""
    tensors = BODY | linear("head", 512, 3, bias=False)
    assert refused(tensors).remedies == (Remedy("activation", "none"), Remedy("module"))
    refused(tensors, activation="relu")
    assert found(tensors, activation="none").num_classes == 3


def test_children_followed_by_more_of_the_library_are_refused() -> None:
    """The children of a DenseNet lack its last activation: only the user's code shows what follows them."""
    children = nn.Sequential(*list(models.densenet121().children())[:-1])
    tensors = behind("extractor", dict(children.state_dict())) | linear("head", 1024, 3)
    assert refused(tensors).remedies == (Remedy("module"),)


def test_an_unneeded_activation_is_refused() -> None:
    """An activation for a complete network, or for a single layer, would be ignored."""
    assert "No activation can follow" in str(refused(RESNET, activation="relu"))
    of_a_head = refused(BODY | linear("head", 512, 3), activation="relu")
    assert "No activation can follow" in str(of_a_head)
    assert of_a_head.remedies == (Remedy("module"),)


@pytest.mark.parametrize("shortcut", ["downsample", "shortcut"])
def test_a_stem_for_small_images_is_asked_about(shortcut: str) -> None:
    """A 3 x 3 first convolution is CIFAR's, without a max-pool, only if the user says so."""
    network = _replaced("resnet18", "conv1", nn.Conv2d(3, 64, 3, 1, 1, bias=False))
    network.set_submodule("maxpool", nn.Identity())
    tensors = {name.replace("downsample", shortcut): tensor for name, tensor in network.state_dict().items()}
    assert refused(tensors).remedies == (Remedy("stem", "cifar"), Remedy("module"))
    assert torch.allclose(answers(found(tensors, stem="cifar").network), answers(network), atol=1e-6)
    assert "omit the stem" in str(refused(RESNET, stem="cifar"))


def test_normalizing_buffers_become_the_input() -> None:
    """Mean and std in buffers in front of a network become its input's."""
    mean, std = torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1), torch.tensor([0.4, 0.5, 0.6]).reshape(1, 3, 1, 1)
    recognized = found(behind("net", RESNET) | {"norm.mean": mean, "norm.std": std})
    assert recognized.normalization == {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    assert recognized.left_out == ()
    refused(behind("net", RESNET) | {"norm.mean": mean * 255, "norm.std": std})
    of_levels = found(behind("net", RESNET) | {"norm.mean": mean * 255, "norm.std": std * 255})
    assert of_levels.normalization == recognized.normalization


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_auxiliary_heads_are_left_out(name: str, classes: int) -> None:
    """Heads that only training needs may have other classes, as when only the last layer was replaced."""
    network = models.get_model(name, weights=None, init_weights=False, aux_logits=True)
    network.fc = nn.Linear(network.fc.in_features, classes)
    recognized = found(behind("model", dict(network.state_dict())))
    assert (recognized.architecture, recognized.num_classes) == (f"torchvision/{name}", classes)
    assert {key.split(".")[1].rstrip("12") for key in recognized.left_out} <= {"AuxLogits", "aux"} != set()
    assert "transform_input" in recognized.notes[1].sentence


@pytest.mark.parametrize(
    "head",
    [
        {"fc.weight": torch.zeros(3, 512), "fc.bias": torch.zeros(2)},
        {"fc.weight": torch.zeros(2, 512), "fc.bias": torch.zeros(9)},
    ],
)
def test_a_head_that_contradicts_itself_is_refused(head: dict[str, torch.Tensor]) -> None:
    """A last layer with inconsistent parts is an error that shows them."""
    assert "fc.bias" in str(refused(BODY | head))


def test_half_precision_fits() -> None:
    """Tensors in fp16 and bf16 are recognized."""
    for dtype in (torch.float16, torch.bfloat16):
        half = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in RESNET.items()}
        recognized = found(half)
        assert recognized.num_classes == CLASSES
        assert not any(tensor.is_inference() for tensor in recognized.network.parameters())  # they have no gradients


def test_counters_of_batches_may_be_missing() -> None:
    """Old versions of torch did not count batches: a missing counter is not a fault."""
    old = {name: tensor for name, tensor in RESNET.items() if not name.endswith("num_batches_tracked")}
    assert found(old).network.state_dict().keys() == RESNET.keys()


def test_unknown_tensors_fit_no_network() -> None:
    """Tensors of an unknown network fit none."""
    assert recognize({"a.weight": torch.zeros(3, 3), "b": torch.zeros(2)}, Asked()) is None


def test_every_activation_of_the_command_is_supported() -> None:
    """The command offers exactly the activations that a head can have."""
    assert get_args(Activation) == tuple(ACTIVATIONS)


def test_auxiliary_heads_of_the_same_classes_are_left_out() -> None:
    """Inception's auxiliary head is left out without a question even if it has the same classes."""
    whole = models.inception_v3(num_classes=CLASSES, aux_logits=True, init_weights=False).state_dict()
    recognized = found(whole)
    assert recognized.architecture == "torchvision/inception_v3"
    assert "AuxLogits.fc.weight" in recognized.left_out

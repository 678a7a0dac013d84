"""Finding the network that tensors belong to."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision import models

from src.checkpoints.architecture import fit, full_name, nearest, recognize
from src.checkpoints.network import build
from src.errors import ModelError

CLASSES = 7
RESNET = {name: tensor.clone() for name, tensor in build("torchvision/resnet18", CLASSES).state_dict().items()}
EXTRAS = {"loss.weight": torch.ones(CLASSES), "accuracy.total": torch.tensor(3), "step": torch.tensor(1)}

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
    """Architecture, classes and tensors are found under every usual prefix; what does not belong to it is left out."""
    found = recognize({spelling(name): tensor for name, tensor in RESNET.items()} | extras)
    assert found[0].architecture == "torchvision/resnet18"
    assert "timm/resnet18" in [candidate.architecture for candidate in found]
    assert found[0].num_classes == CLASSES
    assert set(found[0].left_out) == set(extras)
    assert set(found[0].weights) == set(RESNET)
    assert all(torch.equal(found[0].weights[name], tensor) for name, tensor in RESNET.items())


@pytest.mark.parametrize("copy", ["ema_model", "ema.module", "teacher", "averaged_model.module"])
def test_a_copy_is_not_taken_for_the_network(copy: str) -> None:
    """Of the network and a moving average of it the network is taken, whichever comes first."""
    average = {f"{copy}.{name}": torch.zeros_like(tensor) for name, tensor in RESNET.items()}
    for tensors in (average | {f"model.{name}": tensor for name, tensor in RESNET.items()}, average | RESNET):
        found = recognize(tensors)[0]
        assert torch.equal(found.weights["conv1.weight"], RESNET["conv1.weight"])
        assert set(found.left_out) == set(average)


@pytest.mark.parametrize(
    "architecture",
    [
        "torchvision/alexnet",
        "torchvision/vgg11_bn",
        "torchvision/squeezenet1_1",
        "torchvision/mobilenet_v3_small",
        "torchvision/densenet121",
        "torchvision/vit_b_32",
        "torchvision/swin_t",
        "torchvision/regnet_y_400mf",
        "timm/convnext_atto",
        "timm/deit_tiny_patch16_224",
        "timm/mixer_s32_224",
        "timm/mobilenetv4_conv_small",
    ],
)
def test_networks_of_every_kind_are_recognized(architecture: str) -> None:
    """The network that made the tensors is among those that are found, with its number of classes."""
    found = recognize(build(architecture, CLASSES).state_dict())
    assert architecture in [candidate.architecture for candidate in found]
    assert {candidate.num_classes for candidate in found} == {CLASSES}


def test_a_given_architecture_is_taken() -> None:
    """Where several networks fit, the one that was named is taken."""
    assert fit(RESNET, "timm/resnet18").architecture == "timm/resnet18"


def test_half_precision_fits() -> None:
    """Tensors in fp16 and bf16 are those of the network all the same."""
    for dtype in (torch.float16, torch.bfloat16):
        half = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in RESNET.items()}
        assert recognize(half)[0].num_classes == CLASSES


def test_counters_of_batches_may_be_missing() -> None:
    """Old versions of torch did not count batches: those counters are no fault."""
    old = {name: tensor for name, tensor in RESNET.items() if not name.endswith("num_batches_tracked")}
    assert set(recognize(old)[0].weights) == set(RESNET)


@pytest.mark.parametrize("architecture", ["torchvision/resnet34", "torchvision/resnet50", "torchvision/alexnet"])
def test_a_wrong_architecture_is_explained(architecture: str) -> None:
    """A network that does not fit is an error that names tensors which differ, and the network that fits best."""
    with pytest.raises(ModelError, match=rf"do not fit {architecture}: .* They are those of torchvision/resnet18\."):
        fit(RESNET, architecture)


def test_the_nearest_network_is_named() -> None:
    """Where no network has just these tensors, the nearest one is named with what differs, whatever the prefix."""
    other = {f"net.{name}": tensor for name, tensor in RESNET.items()} | {"net.conv1.weight": torch.zeros(64, 3, 5, 5)}
    said = nearest(other)
    assert said == (
        " The nearest is torchvision/resnet18, but conv1.weight has the shape (64, 3, 5, 5) instead of (64, 3, 7, 7)."
    )
    with pytest.raises(
        ModelError, match=r"do not fit torchvision/alexnet: .* The nearest is torchvision/resnet18, but"
    ):
        fit(other, "torchvision/alexnet")
    assert nearest({"a.weight": torch.zeros(3, 3), "b": torch.zeros(2)}) == ""


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"fc.weight": torch.zeros(3, 512), "fc.bias": torch.zeros(2)}, r"fc\.weight has the shape \(3, 512\)"),
        ({"fc.weight": torch.zeros(2, 512), "fc.bias": torch.zeros(9)}, r"fc\.weight has the shape \(2, 512\)"),
        (
            {"fc.weight": torch.zeros(3, 512)},
            r"fc\.bias is missing\. The nearest is [\w/]*resnet18, but fc\.bias is missing\.",
        ),
    ],
    ids=["two kinds of classes", "the other way round", "no bias"],
)
def test_a_head_that_contradicts_itself_is_explained(head: dict[str, torch.Tensor], said: str) -> None:
    """A last layer of which the parts differ, whatever its size, or one that lacks a part, is an error that says so."""
    body = {name: tensor for name, tensor in RESNET.items() if not name.startswith("fc.")}
    assert recognize(body | head) == ()
    with pytest.raises(ModelError, match=said):
        fit(body | head, "torchvision/resnet18")


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_auxiliary_heads_are_left_out(name: str, classes: int) -> None:
    """Heads that only training needs may have other classes, as where only the last layer was replaced."""
    network = models.get_model(name, weights=None, init_weights=False, aux_logits=True)
    network.fc = nn.Linear(network.fc.in_features, classes)
    found = recognize({f"model.{key}": tensor for key, tensor in network.state_dict().items()})[0]
    assert (found.architecture, found.num_classes) == (f"torchvision/{name}", classes)
    assert {key.split(".")[1].rstrip("12") for key in found.left_out} <= {"AuxLogits", "aux"} != set()


def test_a_larger_network_is_not_cut_down() -> None:
    """The tensors of resnet34 hold all names of resnet18 and more: they are not taken for resnet18."""
    with pytest.raises(ModelError, match="is not part of the network"):
        fit(build("torchvision/resnet34", CLASSES).state_dict(), "torchvision/resnet18")


def test_unknown_tensors_are_recognized_as_nothing() -> None:
    """Tensors of no known network fit none."""
    assert recognize({"a.weight": torch.zeros(3, 3), "b": torch.zeros(2)}) == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alexnet", "torchvision/alexnet"),
        ("resnet18", "torchvision/resnet18"),
        ("timm/resnet18", "timm/resnet18"),
        ("tf_efficientnet_lite0", "timm/tf_efficientnet_lite0"),
    ],
)
def test_a_short_name_is_completed(name: str, expected: str) -> None:
    """A name without its library is torchvision's where both have it."""
    assert full_name(name) == expected


@pytest.mark.parametrize("name", ["alexnt", "torchvision/alexnt", "timm/alexnet"])
def test_a_misspelt_name_is_explained(name: str) -> None:
    """A name that no library has is an error that suggests a similar one."""
    with pytest.raises(ModelError, match=r"did you mean .*alexnet"):
        full_name(name)

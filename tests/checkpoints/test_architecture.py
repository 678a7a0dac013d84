"""Looking up an architecture by name, and explaining why tensors do not fit it."""

import pytest
import torch

from src.checkpoints.architecture import explain_misfit, full_name, nearest
from src.checkpoints.network import build
from src.errors import ModelError

RESNET = build("torchvision/resnet18", 7).state_dict()


@pytest.mark.parametrize("architecture", ["torchvision/resnet34", "torchvision/resnet50", "torchvision/alexnet"])
def test_a_wrong_architecture_is_explained(architecture: str) -> None:
    """A network that does not fit is an error that names differing tensors and the network that fits best."""
    said = str(explain_misfit(RESNET, architecture))
    assert said.startswith(f"The tensors do not fit {architecture}: ")
    assert said.endswith(" They are those of torchvision/resnet18.")


def test_the_nearest_network_is_named() -> None:
    """If no network has exactly these tensors, the nearest one is named with the differences, under any prefix."""
    other = {f"net.{name}": tensor for name, tensor in RESNET.items()} | {"net.conv1.weight": torch.zeros(64, 3, 5, 5)}
    said = nearest(other)
    assert said == (
        " The nearest is torchvision/resnet18, but conv1.weight has the shape (64, 3, 5, 5) instead of (64, 3, 7, 7)."
    )
    assert said in str(explain_misfit(other, "torchvision/alexnet"))
    assert nearest({"a.weight": torch.zeros(3, 3), "b": torch.zeros(2)}) == ""


def test_a_larger_network_is_not_cut_down() -> None:
    """The tensors of resnet34 contain all names of resnet18: they do not fit resnet18."""
    larger = build("torchvision/resnet34", 7).state_dict()
    assert "is not part of the network" in str(explain_misfit(larger, "torchvision/resnet18"))


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
    """A name without its library is torchvision's if it exists in both."""
    assert full_name(name) == expected


@pytest.mark.parametrize("name", ["alexnt", "torchvision/alexnt", "timm/alexnet"])
def test_a_misspelled_name_is_explained(name: str) -> None:
    """An unknown name is an error that suggests a similar one."""
    with pytest.raises(ModelError, match=r"did you mean .*alexnet"):
        full_name(name)

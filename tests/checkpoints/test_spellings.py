"""Networks of other libraries that equal one of torchvision or timm except for names."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch.nn.utils import prune

from src.checkpoints.checkpoint import read_checkpoint
from src.checkpoints.fingerprints import build_empty
from src.checkpoints.given import Given
from src.checkpoints.network import build
from src.checkpoints.reading.weights_file import WeightsFile
from src.checkpoints.spellings import respelled
from src.errors import ModelError

# What efficientnet_pytorch 0.7.1 calls the layers of its first block, of its second, and around them, in its own order.
FIRST_BLOCK = ["_depthwise_conv", "_bn1", "_se_reduce", "_se_expand", "_project_conv", "_bn2"]
OTHER_BLOCKS = ["_expand_conv", "_bn0", *FIRST_BLOCK]


def _as_efficientnet_pytorch(network: torch.nn.Module) -> Mapping[str, torch.Tensor]:
    """Return the tensors under the other library's names, matched by position: both have the same layer order."""
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in network.state_dict().items():
        layer, _, kind = name.rpartition(".")
        layers.setdefault(layer, {})[kind] = tensor
    starts = [layer for layer in layers if re.fullmatch(r"blocks\.\d+\.\d+\.(conv_dw|conv_pw)", layer)]
    blocks = list(dict.fromkeys(start.rpartition(".")[0] for start in starts))
    expanded = {block for block in blocks if f"{block}.conv_pwl" in layers}
    names = ["_conv_stem", "_bn0"]
    for index, block in enumerate(blocks):
        names += [f"_blocks.{index}.{name}" for name in (OTHER_BLOCKS if block in expanded else FIRST_BLOCK)]
    names += ["_conv_head", "_bn1", "_fc"]
    return {
        f"{name}.{kind}": tensor
        for name, layer in zip(names, layers.values(), strict=True)
        for kind, tensor in layer.items()
    }


@pytest.mark.parametrize("prefix", ["", "model.net."])
def test_efficientnet_pytorch_is_timms_tf_variant(prefix: str, tmp_path: Path) -> None:
    """It becomes timm's network with TensorFlow's padding, without a question, and every tensor is in its place."""
    network = build("timm/tf_efficientnet_b0", 3)
    tensors = {f"{prefix}{name}": tensor for name, tensor in _as_efficientnet_pytorch(network).items()}
    torch.save({"state_dict": tensors | {"loss.weight": torch.ones(3)}}, tmp_path / "file.ckpt")
    checkpoint = read_checkpoint(tmp_path / "file.ckpt", Given())
    assert checkpoint.architecture == "timm/tf_efficientnet_b0"
    found = checkpoint.network.state_dict()
    assert all(found[name].equal(tensor) for name, tensor in network.state_dict().items())
    assert any("left out: loss" in note.sentence for note in checkpoint.notes)


@pytest.mark.parametrize("number", [0, 1, 2, 4, 6])
def test_every_size_of_efficientnet_is_distinguished(number: int) -> None:
    """The numbers of blocks and last channels identify each of the nine variants, and all names become timm's."""
    network = build_empty(f"timm/tf_efficientnet_b{number}", 3)
    file = respelled(WeightsFile(_as_efficientnet_pytorch(network), {}))
    assert file.hyper_parameters["architecture"] == f"timm/tf_efficientnet_b{number}"
    assert {name: tensor.shape for name, tensor in file.tensors.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }


@pytest.mark.parametrize(
    ("architecture", "last"),
    [
        ("torchvision/resnet18", "fc"),
        ("torchvision/densenet121", "classifier"),
        ("timm/legacy_xception", "fc"),
        ("timm/legacy_seresnet18", "last_linear"),
    ],
)
def test_the_last_layer_of_pretrainedmodels_is_found(architecture: str, last: str, tmp_path: Path) -> None:
    """The last_linear of pretrainedmodels is the last layer, whatever the library calls it."""
    tensors = build(architecture, 3).state_dict()
    renamed = {f"model.{name}".replace(f".{last}.", ".last_linear."): tensor for name, tensor in tensors.items()}
    torch.save({"state_dict": renamed}, tmp_path / "file.ckpt")
    checkpoint = read_checkpoint(tmp_path / "file.ckpt", Given(tutorial=True))
    assert checkpoint.architecture.rpartition("/")[2] in {
        architecture.rpartition("/")[2],
        architecture.rpartition("_")[2],
    }
    found = {tuple(tensor.shape): tensor for tensor in checkpoint.network.state_dict().values()}
    last_layer = tensors[f"{last}.weight"]
    assert found[tuple(last_layer.shape)].equal(last_layer)


def test_densenet_as_published_before_torch_0_4_is_torchvisions() -> None:
    """Its dense layers had a number after a dot."""
    network = build_empty("torchvision/densenet121", 3).state_dict()
    old = {re.sub(r"(denselayer\d+\.\w+)([12])\.", r"\1.\2.", f"model.{name}"): held for name, held in network.items()}
    assert "model.features.denseblock1.denselayer1.norm.1.weight" in old
    assert respelled(WeightsFile(old, {})).tensors.keys() == {f"model.{name}" for name in network}


def test_a_pruned_network_is_read_as_it_computes() -> None:
    """Pruning leaves the original tensors with masks, which are applied."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 2))
    for layer in network:
        prune.random_unstructured(layer, "weight", amount=0.5)  # type: ignore[no-untyped-call]
    expected = {f"{place}.{name}": getattr(network[place], name) for place in (0, 1) for name in ("weight", "bias")}
    found = respelled(WeightsFile(network.state_dict() | {"attn_mask": torch.ones(2)}, {})).tensors
    assert found.keys() == expected.keys() | {"attn_mask"}
    assert all(found[name].equal(tensor) for name, tensor in expected.items())


def test_other_names_stay_as_they_are() -> None:
    """An EfficientNet of another size, or a custom last_linear, is left alone."""
    for names in (["_conv_stem.weight", "_conv_head.weight"], ["head.last_linear.weight", "head.last_linear.bias"]):
        own = WeightsFile(dict.fromkeys(names, torch.ones(7, 2)), {"lr": 0.1})
        assert respelled(own) == own


def test_a_needed_tensor_of_an_unknown_kind_is_named(tmp_path: Path) -> None:
    """A network that lacks a tensor because the file holds an object instead is refused with that object's class."""
    tensors = build("torchvision/squeezenet1_1", 2).state_dict()
    torch.save({**tensors, "features.0.bias": Path}, tmp_path / "file.pt")
    with pytest.raises(ModelError, match=r"features\.0\.bias"):
        read_checkpoint(tmp_path / "file.pt", Given())


def _as_old_swin(name: str) -> str:
    name = re.sub(r"layers\.(\d+)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", name)
    return f"model.{name.replace('head.fc.', 'head.')}"


def test_swin_of_microsoft_and_of_timm_before_0_9_is_timms() -> None:
    """Patches were merged at the end of a stage, and what follows from the size of images was stored."""
    network = build_empty("timm/swin_tiny_patch4_window7_224", 3).state_dict()
    old = {_as_old_swin(name): tensor for name, tensor in network.items()}
    of_the_size = {
        "model.layers.0.blocks.1.attn_mask": torch.zeros(64, 49, 49),
        "model.layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.long),
    }
    others = {"loss.weight": torch.ones(3), "head.weight": torch.ones(2, 2)}
    found = respelled(WeightsFile(old | of_the_size | others, {})).tensors
    assert found.keys() == {f"model.{name}" for name in network} | others.keys()
    assert all(found[f"model.{name}"] is tensor for name, tensor in network.items())
    again = respelled(WeightsFile(found, {})).tensors
    assert again.keys() == found.keys()

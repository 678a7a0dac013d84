"""Every architecture: torchvision's classification networks, and the smallest network of each of timm's families."""

import re
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import BaseTorchFunctionMode
from torchvision import models

from src.errors import ModelError
from src.model.network import build
from src.model.split import split
from src.model.torch_runtime import TorchHead
from src.stages.gradcam import gradcam
from tests.isolation import run_alone
from tests.oracles import whole_backward

CLASSES = 5
_BIG_INPUT: Final = 512  # pixels; one picture of this size is enough

TORCHVISION = [f"torchvision/{name}" for name in models.list_models(module=models)]

TIMM = [f"timm/{name}" for name in Path(__file__).with_name("timm_architectures.txt").read_text("utf-8").split()]

SEVERAL_MAPS = "several feature maps side by side"
# Networks that have no Grad-CAM, and why.
REFUSED = {
    "timm/coat_tiny": SEVERAL_MAPS,  # the answer adds up the class tokens of three scales that exchange their tokens
    "timm/crossvit_tiny_240": SEVERAL_MAPS,  # two branches with patches of two sizes, each with an answer of its own
    "timm/efficientvim_m1": SEVERAL_MAPS,  # the answer adds up the hidden states of every stage
}

# Their last tokens lie transposed in memory; of those that come back from a map the mean is summed in another order.
SUMMED_IN_ANOTHER_ORDER = {"timm/resmlp_12_224", "timm/test_vit_relpos", "timm/vit_relpos_small_patch16_224"}

QUICK = [
    "torchvision/mobilenet_v3_small",  # maps, cut between modules
    "torchvision/shufflenet_v2_x0_5",  # maps, cut at a module
    "torchvision/vit_b_32",  # tokens and a class token, torch's own attention
    "timm/test_resnet",  # maps, cut between timm's methods
    "timm/test_mambaout",  # channels last
    "timm/levit_128",  # tokens without a class token
    "timm/test_vit",  # tokens of which only the class token is read
    "timm/deit_tiny_distilled_patch16_224",  # two class tokens
    "timm/pit_ti_224",  # numbers that pass the map by
    "timm/cait_xxs24_224",  # a class token that comes after the map
    "timm/tnt_s_legacy_patch16_224",  # tokens inside tokens
    "timm/volo_d1_224",  # class token and places are read both
]


def random_network(architecture: str) -> nn.Module:
    """Build a network with seeded weights, none of them at a constant that would hide an error (as zero hides all)."""
    torch.manual_seed(0)
    network = build(architecture, CLASSES)
    for parameter in network.parameters():
        if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network


def input_size(architecture: str, network: nn.Module) -> tuple[int, int]:
    """Return (height, width) of the pictures that a network takes."""
    if architecture.startswith("timm/"):
        _, height, width = network.default_cfg["input_size"]  # type: ignore[index]
        return int(height), int(width)
    side = 299 if architecture == "torchvision/inception_v3" else 224
    return side, side


def _check(architecture: str) -> None:
    """Check the logits of the two parts and the heatmap of each class against those of the whole network."""
    network = random_network(architecture)
    size = input_size(architecture, network)
    parts = split(network, size)
    pictures = torch.randn(1 if max(size) >= _BIG_INPUT else 2, 3, *size)
    with torch.no_grad():
        logits = network(pictures)
        assert torch.isfinite(logits).all()
        tolerance = 1e-6 if architecture in SUMMED_IN_ANOTHER_ORDER else 0
        torch.testing.assert_close(parts.head(parts.backbone(pictures)), logits, rtol=0, atol=tolerance)
    with torch.no_grad(), BaseTorchFunctionMode():  # as the oracle: torch's attention rounds differently
        features = parts.backbone(pictures[:1])
    assert min(features.shape[2:]) > 1
    evaluation = TorchHead.start(parts.head, "cpu", 1).evaluate(features, explained=True)
    oracles = whole_backward(network, pictures[:1], features)
    assert any(oracle.heat.any() for both in oracles for oracle in both)
    for index, both in enumerate(oracles):
        for sign, oracle in zip((1, -1), both, strict=True):  # for the class, and against it
            heat = gradcam(evaluation.features, sign * evaluation.weights(index)).values
            np.testing.assert_allclose(heat, oracle.heat, rtol=0, atol=oracle.tolerance)


def _check_refused(architecture: str) -> None:
    network = random_network(architecture)
    with pytest.raises(ModelError, match=re.escape(REFUSED[architecture])):
        split(network, input_size(architecture, network))


@pytest.mark.parametrize("architecture", QUICK)
def test_each_kind_of_network_is_split_and_explained(architecture: str) -> None:
    """The parts give bit for bit the logits of the whole, and the heatmap of a backward pass through the whole."""
    _check(architecture)


@pytest.mark.parametrize("architecture", ["timm/efficientvim_m1"])
def test_a_network_that_has_no_single_map_is_refused(architecture: str) -> None:
    """A network whose answer is made of several maps is refused with the reason."""
    _check_refused(architecture)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # the libraries' networks have warnings of their own
@pytest.mark.parametrize("architecture", [*TORCHVISION, *TIMM])
def test_every_architecture_is_split_and_explained(architecture: str) -> None:
    """Every network's parts and heatmaps are those of the whole, or it is refused for the reason in the table."""
    run_alone(_check_refused if architecture in REFUSED else _check, architecture)

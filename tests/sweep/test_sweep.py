"""A quick dozen of the sweep, one or more of each kind; ``python -m tests.sweep`` checks every architecture."""

from typing import Any

import pytest

from tests.sweep.check import check
from tests.sweep.networks import ALL
from tests.sweep.table import table

QUICK = [
    "torchvision/mobilenet_v3_small",  # maps, a convolution in the head
    "torchvision/shufflenet_v2_x0_5",  # maps, a closed form
    "torchvision/squeezenet1_1",  # no linear layer
    "torchvision/vit_b_32",  # tokens and a class token, torch's own attention
    "timm/test_convnext",  # a norm behind the pooling
    "timm/test_mambaout",  # channels last
    "timm/levit_128",  # tokens without a class token
    "timm/test_vit",  # tokens of which only the class token is read
    "timm/deit_tiny_distilled_patch16_224",  # two class tokens
    "timm/pit_ti_224",  # numbers that pass the map by
    "timm/coat_lite_tiny",  # tied weights
    "timm/efficientvim_m1",  # several maps: no Grad-CAM
]


@pytest.mark.parametrize("architecture", QUICK)
@pytest.mark.filterwarnings("ignore")  # the libraries' networks have warnings of their own
def test_each_kind_of_network_is_served_without_torch(architecture: str) -> None:
    """From its code to an answer of the pipeline, a network is what it was, or is refused for the reason known."""
    row = check(architecture)
    assert row.get("served") == "openvino" or "side by side" in row["refused"]


def test_the_sweep_covers_both_libraries() -> None:
    """The networks of the sweep are all of torchvision's and a hundred families of timm, none twice."""
    assert len([name for name in ALL if name.startswith("torchvision/")]) == 80
    assert len(ALL) == len(set(ALL)) == 211


def test_the_table_tells_what_became_of_each() -> None:
    """A network that is served, one that is refused and one that failed have a row each."""
    found: dict[str, Any] = {"layer": "norm", "maps": "8x7x7", "logits": 0.0, "heatmap": 1e-7, "stored": 2e-6}
    rows = [
        {"architecture": "timm/a", **found, "head": "closed_form", "served": "openvino", "note": "", "seconds": 9.5},
        {"architecture": "timm/b", "refused": "several maps", "seconds": 1.0},
        {"architecture": "timm/c", "failed": "exit code 1"},
    ]
    text = table(rows)
    assert "3 networks: 1 are served without torch, 0 with it, 1 have no Grad-CAM and are refused" in text
    assert "| timm/a | norm | 8x7x7 | 0 | 1e-07 | 2e-06 | closed form | openvino | 9.5 |" in text
    assert "| timm/b | several maps |" in text

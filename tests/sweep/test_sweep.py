"""A few networks of the sweep, one or more of each kind; ``python -m tests.sweep`` checks every architecture."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.places import ROOT
from tests.sweep.networks import ALL
from tests.sweep.table import table

STORED = [
    "torchvision/squeezenet1_1",  # no linear layer
    "timm/test_mambaout",  # channels last, a norm after the pooling
]
QUICK = [
    *STORED,
    "timm/test_byobnet",
    "timm/test_convnext",
    "timm/test_efficientnet",
    "timm/test_efficientnet_gn",
    "timm/test_efficientnet_ln",
    "timm/test_nfnet",
    "timm/test_resnet",  # maps, a closed form; test_runtimes stores and serves it
    "timm/test_vit",  # tokens of which only the class token is read; test_runtimes stores and serves it, too
    "timm/efficientvim_m1",  # several maps: refused
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the command's results; it runs in its own process because torch keeps what it captures."""
    folder = tmp_path_factory.mktemp("sweep")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.sweep", "--together", *QUICK, "--stored", *STORED]
    subprocess.run(command, cwd=folder, env=environment, check=False)
    lines = (folder / "sweep" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["architecture"]: row for row in map(json.loads, lines)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("architecture", QUICK)
def test_each_kind_of_network_is_explained(rows: dict[str, dict[str, Any]], architecture: str) -> None:
    """A captured and cut network returns its logits and heatmaps, or is refused for the known reason."""
    row = rows[architecture]
    assert "failed" not in row, row
    assert "heatmap" in row or "side by side" in row["refused"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("architecture", STORED)
def test_each_kind_of_head_is_served_without_torch(rows: dict[str, dict[str, Any]], architecture: str) -> None:
    """A stored network is served by OpenVINO with the answers of the original."""
    assert rows[architecture]["served"] == "openvino"


def test_the_sweep_covers_both_libraries() -> None:
    """The sweep has all 80 networks of torchvision and 131 families of timm, each once."""
    assert len([name for name in ALL if name.startswith("torchvision/")]) == 80
    assert len(ALL) == len(set(ALL)) == 211


def test_the_table_has_a_row_for_each_network() -> None:
    """Served, refused and failed networks each have a row."""
    found: dict[str, Any] = {"layer": "norm", "maps": "8x7x7", "logits": 0.0, "heatmap": 1e-7, "stored": 2e-6}
    rows = [
        {"architecture": "timm/a", **found, "head": "closed_form", "served": "openvino", "note": "", "seconds": 9.5},
        {"architecture": "timm/b", "refused": "several maps", "seconds": 1.0},
        {"architecture": "timm/c", "failed": "exit code 1"},
    ]
    text = table(rows)
    assert "3 networks: 1 served without torch, 0 with it, 1 refused because Grad-CAM cannot explain them" in text
    assert ", 0 not stored, 1 failed." in text
    assert "| timm/a | norm | 8x7x7 | 0 | 1e-07 | 2e-06 | closed form | openvino | 9.5 |" in text
    assert "| timm/b | several maps |" in text
    assert "| timm/c | exit code 1 |" in text

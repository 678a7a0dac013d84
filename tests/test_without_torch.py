"""Networks of any kind, served by processes that hold no torch."""

import subprocess
from pathlib import Path

import httpx
import pytest
import timm
import torch

import save_model
from tests.places import ROOT
from tests.serving import running_server


def _processes(parent: int) -> list[int]:
    """Return ``parent`` and all processes that it started, and that these did."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [parent, *(one for child in children.stdout.split() for one in _processes(int(child)))]


def test_a_vit_is_served_and_explained_by_processes_without_torch(tmp_path: Path) -> None:
    """The service of a ViT answers with a heatmap, and none of its processes has a library of torch in its memory."""
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc, as Linux has it")
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit", num_classes=2).state_dict(), tmp_path / "vit.pt")
    given = ["--arch", "timm/test_vit", "--labels", "bus,car"]
    assert save_model.main([str(tmp_path / "vit.pt"), *given, "--name", "vit"]) == 0
    with running_server(tmp_path, {"IMAGE_RECOGNITION_MODEL": "vit:latest"}) as server:
        files = {"img": (ROOT / "docs" / "cat.jpg").read_bytes()}
        answer = httpx.post(f"{server.url}/image_recognition_file", files=files, timeout=30).json()
        assert answer["explained"]["class"] == answer["result"]
        found = _processes(server.process.pid)
        maps = "".join(Path(f"/proc/{process}/maps").read_text(encoding="utf-8") for process in found)
    assert len(found) > 1
    assert "openvino" in maps
    assert "libtorch" not in maps

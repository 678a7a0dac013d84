"""Exported programs in files."""

import zipfile
from pathlib import Path

import torch
from torch import nn

from src.conversion.capture import export_batches
from src.conversion.convert import save_programs
from src.runtimes.torch import _Program


class _Copying(nn.Module):
    """A linear layer whose outputs are copied, which torch allows in a program only before it is decomposed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = self.linear(x)
        return torch.zeros_like(outputs).copy_(outputs)


def test_a_saved_program_contains_only_operations(tmp_path: Path) -> None:
    """It takes its tensors as inputs, and names neither the class nor the files that it comes from."""
    network, images = _Copying().requires_grad_(requires_grad=False), torch.randn(3, 3)
    save_programs({"network.pt2": export_batches(network, torch.zeros(2, 3))}, tmp_path)
    (found,) = _Program(tmp_path, "network.pt2", "cpu")(images)
    assert torch.equal(found, network(images))
    with zipfile.ZipFile(tmp_path / "network.pt2") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert b"Copying" not in content
    assert b".py" not in content

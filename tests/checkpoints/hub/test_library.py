"""Reading a folder of transformers without the package."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from src.checkpoints.checkpoint import read_checkpoint
from src.checkpoints.given import Given
from src.errors import ModelError


def test_a_missing_transformers_package_names_the_install_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package, its folders are refused with the command that installs it."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    save_file({"a": torch.ones(2, 2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ModelError, match="uv pip install transformers"):
        read_checkpoint(tmp_path, Given())

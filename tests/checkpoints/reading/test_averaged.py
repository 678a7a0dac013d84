"""Averaged weights, wherever training frameworks store them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from src.checkpoints.reading.weights_file import read_weights_file

NAMES = ("0.weight", "0.bias")
RAW = {name: torch.zeros(2, 2) for name in NAMES}
MEAN = {name: torch.ones(2, 2) for name in NAMES}


def _behind(prefix: str) -> dict[str, torch.Tensor]:
    return {f"net.{name}": tensor for name, tensor in RAW.items()} | {
        f"{prefix}{name}": tensor for name, tensor in MEAN.items()
    }


FORMS: dict[str, dict[str, Any]] = {
    "timm's script": {"state_dict": RAW, "state_dict_ema": MEAN},
    "ema_state_dict": {"state_dict": RAW, "ema_state_dict": MEAN},
    "model_ema": {"model": RAW, "model_ema": MEAN, "optimizer": {"state": {}}},
    "a callback": {"state_dict": RAW, "callbacks": {"EMACallback{'decay': 0.9}": {"weights": MEAN}}},
    "Lightning's SWA": {
        "state_dict": RAW, "callbacks": {"StochasticWeightAveraging": {"n_averaged": 3, "average_model_state": MEAN}},
    },
    "Lightning's average": {"state_dict": MEAN, "current_model_state": RAW, "averaging_state": {"n_averaged": 3}},
    "mmengine": {"state_dict": MEAN, "ema_state_dict": RAW, "message_hub": {}},
    "ema.module": {"state_dict": _behind("ema.module.")},
    "ema_model": {"state_dict": _behind("ema_model.")},
    "swa_model": {"state_dict": _behind("swa_model.module.") | {"swa_model.n_averaged": torch.tensor(3)}},
    "model_ema in names": {"state_dict": _behind("model_ema.")},
    "averaged": {"state_dict": _behind("averaged_net.")},
    "ema-pytorch": {
        "state_dict": _behind("ema.ema_model.") | {f"ema.online_model.{name}": tensor for name, tensor in RAW.items()},
    },
}  # fmt: skip


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_averaged_weights_are_found(content: dict[str, Any], tmp_path: Path) -> None:
    """The averaged tensors, and no others, are read from every kind of file that has them."""
    torch.save(content, tmp_path / "file.ckpt")
    averaged = read_weights_file(tmp_path / "file.ckpt").averaged
    weights = [tensor for name, tensor in averaged.items() if not name.endswith("n_averaged")]
    assert len(weights) == len(NAMES)
    assert all(torch.equal(tensor, torch.ones(2, 2)) for tensor in weights)


def test_an_averaged_network_is_found(tmp_path: Path) -> None:
    """The tensors of a whole network of torch's averaging are read."""
    network = nn.Sequential(nn.Linear(2, 2))
    torch.save({"model": network.state_dict(), "ema": AveragedModel(network)}, tmp_path / "file.pt")
    assert {"module.0.weight", "module.0.bias"} <= read_weights_file(tmp_path / "file.pt").averaged.keys()


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": RAW},
        {"state_dict": {f"gemma.semantic.{name}": tensor for name, tensor in RAW.items()}},
        {"state_dict": RAW, "hyper_parameters": {"ema": MEAN}},
    ],
    ids=["none", "other words", "of hyper-parameters"],
)
def test_other_tensors_are_not_taken_for_averages(content: dict[str, Any], tmp_path: Path) -> None:
    """Words that only contain 'ema', and constructor arguments, do not count as averages."""
    torch.save(content, tmp_path / "file.ckpt")
    assert not read_weights_file(tmp_path / "file.ckpt").averaged

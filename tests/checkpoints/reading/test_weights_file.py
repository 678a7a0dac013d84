"""Files with trained weights, and files that only claim to be such."""

import argparse
import io
import pickle
import shlex
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.parsing import AttributeDict
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from src.checkpoints.reading.weights_file import read_weights_file
from src.errors import ModelError

WEIGHTS = OrderedDict(weight=torch.arange(6.0).reshape(2, 3), bias=torch.ones(2))


def saved(content: object, folder: Path, name: str = "file.ckpt") -> Path:
    """Return a file of torch.save with ``content``."""
    file = folder / name
    torch.save(content, file)
    return file


class Small(pl.LightningModule):
    """A typical module, with hyper-parameters of many kinds."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(3, 2)

    @override
    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss, on_epoch=True)
        return loss

    @override
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters())
        return [optimizer], [torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=100)]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # Lightning's advice on loaders
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_real_checkpoint_of_a_trainer_is_read(tmp_path: Path) -> None:
    """A checkpoint of a Trainer with checkpointing, early stopping, a learning rate monitor and a scheduler is read."""
    module = Small(
        labels=["bus", "car"], root=Path("x"), rate=np.float64(0.1), kind=torch.float16, options=argparse.Namespace(a=1)
    )
    checkpointing = ModelCheckpoint(dirpath=tmp_path, monitor="loss", save_last=True)
    trainer = pl.Trainer(
        max_epochs=2,
        logger=CSVLogger(str(tmp_path)),
        callbacks=[checkpointing, EarlyStopping("loss"), LearningRateMonitor()],
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    data = TensorDataset(torch.randn(8, 3), torch.randint(0, 2, (8,)))
    trainer.fit(module, DataLoader(data, batch_size=4))
    file = read_weights_file(Path(checkpointing.best_model_path))
    assert set(file.tensors) == {"net.weight", "net.bias"}
    assert torch.equal(file.tensors["net.weight"], module.net.weight)
    assert file.hyper_parameters["labels"] == ["bus", "car"]


def _lightning_1(folder: Path) -> Path:
    """Return a checkpoint in the format of pytorch-lightning 1.1.6, which names callbacks by their classes."""
    content = {
        "epoch": 4,
        "pytorch-lightning_version": "1.1.6",
        "state_dict": WEIGHTS,
        "callbacks": {ModelCheckpoint: {"best_model_score": torch.tensor(0.5), "best_model_path": "x"}},
        "optimizer_states": [{"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}}],
        "hparams_name": "hparams",
        "hyper_parameters": AttributeDict(lr=0.1),
    }
    return saved(content, folder)


def _safetensors(folder: Path) -> Path:
    save_file(dict(WEIGHTS), folder / "file.safetensors")
    return folder / "file.safetensors"


def _legacy(folder: Path) -> Path:
    torch.save(WEIGHTS, folder / "file.pt", _use_new_zipfile_serialization=False)
    return folder / "file.pt"


FORMS: dict[str, Callable[[Path], Path]] = {
    "plain state dict": lambda folder: saved(WEIGHTS, folder, "file.pt"),
    "state_dict": lambda folder: saved({"state_dict": WEIGHTS, "epoch": 3}, folder),
    "model": lambda folder: saved({"model": WEIGHTS, "optimizer": {"state": {}}}, folder, "file.pth"),
    "parameters": lambda folder: saved(nn.Linear(3, 2).requires_grad_().state_dict() | WEIGHTS, folder),
    "lightning 1.1.6": _lightning_1,
    "safetensors": _safetensors,
    "before torch 1.6": _legacy,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_file_is_read(form: Callable[[Path], Path], tmp_path: Path) -> None:
    """The same tensors are read from every common kind of file."""
    tensors = read_weights_file(form(tmp_path)).tensors
    assert set(tensors) == set(WEIGHTS)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in WEIGHTS.items())


_OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(2, 3)}, "weight": {"exp_avg": torch.zeros(2, 3)}}}


@pytest.mark.parametrize(
    ("content", "prefixes"),
    [
        ({"model_state": WEIGHTS, "optimizer_state": _OPTIMIZER}, ["model_state."]),
        ({"params": WEIGHTS, "params_ema": {"weight": torch.zeros(2, 3)}}, ["params."]),
        ({"student": WEIGHTS, "teacher": WEIGHTS, "epoch": 3}, ["student.", "teacher."]),
        ({"state": {"optimizers": {"SGD": _OPTIMIZER}, "model": WEIGHTS}, "rng": []}, [""]),  # Composer's
        ({"checkpoint": {"epoch": 3, "state_dict": {"model": WEIGHTS}}}, [""]),
        ({"ema_state_dict": WEIGHTS}, [""]),
        ((WEIGHTS, {"state": {}, "param_groups": []}, 3), ["0."]),
        ({"state_dict": WEIGHTS, "head": nn.Linear(3, 2)}, ["", "head."]),
        ({"model": nn.Linear(3, 2), "head": WEIGHTS}, ["", "head."]),
        ({"net_state": WEIGHTS, "best_acc": torch.tensor(0.9)}, ["net_state."]),
        ({"params": WEIGHTS, "weights": torch.ones(2)}, ["params."]),  # of the classes
        ({"params": defaultdict(None, WEIGHTS), "best": torch.tensor(0.9)}, [""]),
        ({"state_dict": WEIGHTS, "best": {name: tensor.clone() for name, tensor in WEIGHTS.items()}}, [""]),
    ],
)
def test_state_dicts_under_any_name_and_whole_networks_beside_them_are_read(
    content: object, prefixes: list[str], tmp_path: Path
) -> None:
    """Several are read together, with their names as prefixes; an optimizer's tensors are not."""
    file = read_weights_file(saved(content, tmp_path))
    assert set(file.tensors) == {f"{prefix}{name}" for prefix in prefixes for name in WEIGHTS}


def test_the_file_of_an_optimizer_is_not_a_checkpoint(tmp_path: Path) -> None:
    """Its averages of gradients are not weights."""
    with pytest.raises(ModelError, match="holds no tensors"):
        read_weights_file(saved(_OPTIMIZER | {"param_groups": []}, tmp_path))


def _bomb(file: Path) -> None:
    torch.save(WEIGHTS, file)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/9", bytes(10_000_000))


def _not_a_mapping(file: Path) -> None:
    torch.save([torch.zeros(2)], file)


def _sparse(file: Path) -> None:
    torch.save({"a": torch.eye(3).to_sparse()}, file)


class Own(torch.Tensor):
    """A tensor of a class that libraries have."""


QUANTIZATION: Any = torch.ao.quantization  # it has no types
NETWORK = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Linear(3, 2))


def _quantized(file: Path) -> None:
    torch.save(QUANTIZATION.quantize_dynamic(NETWORK, {nn.Linear}), file)


def _quantized_state_dict(file: Path) -> None:
    torch.save(QUANTIZATION.quantize_dynamic(NETWORK, {nn.Linear}).state_dict(), file)


def _prepared_for_quantization(file: Path) -> None:
    network: Any = nn.Sequential(nn.Linear(3, 2)).train()
    network.qconfig = QUANTIZATION.get_default_qat_qconfig("fbgemm")
    torch.save(QUANTIZATION.prepare_qat(network).state_dict(), file)


def _distributed(file: Path) -> None:
    parts: Any = torch.distributed
    parts.init_process_group("gloo", init_method=f"file://{file}.init", rank=0, world_size=1)
    try:
        mesh = parts.device_mesh.init_device_mesh("cpu", (1,))
        torch.save({"a.b": parts.tensor.distribute_tensor(torch.ones(2), mesh)}, file)
    finally:
        parts.destroy_process_group()


def _complex(file: Path) -> None:
    torch.save({"a": torch.zeros(3, dtype=torch.complex64)}, file)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda file: file.write_bytes(b""), "not an intact checkpoint"),
    "text": (lambda file: file.write_text("hello"), "not an intact checkpoint|no checkpoint that can be read safely"),
    "image": (lambda file: file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)), "not an intact checkpoint|read safely"),
    "archive without a pickle": (lambda file: zipfile.ZipFile(file, "w").close(), "not an intact|read safely"),
    "integers of 8 bits": (lambda file: torch.save({"a": torch.zeros(3, 3, dtype=torch.int8)}, file), "quantized"),
    "floats of 8 bits": (lambda file: torch.save({"a": torch.zeros(3, 3).to(torch.float8_e4m3fn)}, file), "quantized"),
    "complex": (_complex, "sparse, quantized, complex"),
    "pickle of a number": (lambda file: file.write_bytes(pickle.dumps(7)), "pickle that torch.save did not write"),
    "no tensors": (lambda file: torch.save({"state_dict": {}, "epoch": 1}, file), "holds no tensors"),
    "list": (_not_a_mapping, r"holds a list.*torch\.save\(network\.state_dict"),
    "quantized network": (_quantized, r"quantized.*\(1\)"),
    "quantized layers": (_quantized_state_dict, r"quantized.*\(1\._packed"),
    "prepared for quantization": (_prepared_for_quantization, "quantized.*fake_quant"),
    "tensors of another class": (
        lambda file: torch.save({"a": torch.ones(2).as_subclass(Own)}, file), "another class than torch's own: save",
    ),
    "distributed": (_distributed, "parts of tensors.*full_state_dict"),
    "protocol 4": (lambda file: torch.save(WEIGHTS, file, pickle_protocol=4), "pickle_protocol=4"),
    "sparse": (_sparse, "sparse, quantized|not an intact checkpoint"),
    "zip bomb": (_bomb, "would unpack to"),
    "missing": (lambda _: None, "There is no file"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch.ao
@pytest.mark.parametrize(("write", "message"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_not_a_checkpoint_is_explained(
    write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    """Each fault of a file is explained in one sentence."""
    file = tmp_path / "file.ckpt"
    write(file)
    with pytest.raises(ModelError, match=message):
        read_weights_file(file)


def test_the_content_decides_the_kind_of_file(tmp_path: Path) -> None:
    """Files of either kind are read under the other's extension."""
    tensors = {"a": torch.arange(4.0)}
    save_file(tensors, tmp_path / "file.ckpt")
    torch.save(tensors, tmp_path / "file.safetensors")
    for file in tmp_path.iterdir():
        assert torch.equal(read_weights_file(file).tensors["a"], tensors["a"])


def test_texts_of_numpy_are_plain_hyper_parameters(tmp_path: Path) -> None:
    """Class names in NumPy arrays are read like others."""
    content = {"state_dict": {"a": torch.ones(2)}, "hyper_parameters": {"classes": [np.str_("bus"), np.str_("car")]}}
    torch.save(content, tmp_path / "file.ckpt")
    assert read_weights_file(tmp_path / "file.ckpt").hyper_parameters["classes"] == ["bus", "car"]


@pytest.mark.parametrize("key", ["model_args", "model_config", "hyperparams", "options", "opt", "train_args"])
def test_hyper_parameters_are_found_under_every_usual_name(key: str, tmp_path: Path) -> None:
    """They are those of a network under any name that says so; those of usual names come first."""
    content = {"model": WEIGHTS, key: argparse.Namespace(pool="max", lr=1), "hparams": {"lr": 2}}
    assert read_weights_file(saved(content, tmp_path)).hyper_parameters == {"pool": "max", "lr": 2}
    optimizer = {"model": WEIGHTS, "opt": {"state": [], "hypers": []}, "params": {"0.weight": torch.ones(2)}}
    assert read_weights_file(saved(optimizer, tmp_path)).hyper_parameters == {}


def test_the_metadata_of_safetensors_are_hyper_parameters(tmp_path: Path) -> None:
    """They are texts, some of them in JSON."""
    save_file(dict(WEIGHTS), tmp_path / "x.safetensors", {"classes": '["bus", "car"]', "arch": "resnet18"})
    found = read_weights_file(tmp_path / "x.safetensors").hyper_parameters
    assert found == {"classes": ["bus", "car"], "arch": "resnet18"}


def test_the_command_for_other_pickles_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that the message gives makes a file that is read."""
    network: Any = nn.Sequential(nn.Linear(3, 2))
    network.own = lambda: 3  # which only cloudpickle stores
    torch.save(network, tmp_path / "file.pt", pickle_module=cloudpickle)
    with pytest.raises(ModelError, match="as by cloudpickle") as refused:
        read_weights_file(tmp_path / "file.pt")
    _, command = str(refused.value).split("with python ")
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, *shlex.split(command.removesuffix(": use weights.pt."))], check=True)
    assert read_weights_file(tmp_path / "weights.pt").tensors["0.weight"].equal(network[0].weight)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_explained(share: float, tmp_path: Path) -> None:
    """A truncated file is refused, wherever it ends."""
    whole = io.BytesIO()
    torch.save({"state_dict": {"a": torch.randn(1000)}}, whole)
    file = tmp_path / "file.ckpt"
    file.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * share)])
    with pytest.raises(ModelError, match="not an intact checkpoint"):
        read_weights_file(file)


@pytest.mark.parametrize("data", [b"", b"text", struct.pack("<Q", 2**40) + b"{", struct.pack("<Q", 2) + b"{}"])
def test_a_broken_safetensors_file_is_explained(data: bytes, tmp_path: Path) -> None:
    """A safetensors file that is damaged, has a wrong header or is empty is refused."""
    file = tmp_path / "file.safetensors"
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"not an intact safetensors|holds no tensors"):
        read_weights_file(file)


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    """A changed tensor is detected by its checksum, even if every number in it is still valid."""
    file = tmp_path / "x.pt"
    torch.save({"w": torch.ones(1000)}, file)
    data = bytearray(file.read_bytes())
    data[data.index(torch.ones(8).numpy().tobytes()) + 400] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"the checksum of .* in it is wrong"):
        read_weights_file(file)

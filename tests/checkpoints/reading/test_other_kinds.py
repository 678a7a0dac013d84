"""Files of unsupported kinds, and the commands that convert them."""

import bz2
import gzip
import json
import lzma
import pickle
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed.checkpoint.state_dict_saver import save as save_parts

from src.checkpoints.reading.folder import read_source
from src.errors import ModelError

NETWORK = nn.Sequential(nn.Linear(3, 2))


def _zipped(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")

    return write


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "model.ckpt")


def _export_of_fastai(path: Path) -> None:
    learner = type("Learner", (), {"__module__": "fastai.learner"})
    with mock.patch.dict(sys.modules, {"fastai": ModuleType("fastai"), "fastai.learner": ModuleType("fastai.learner")}):
        vars(sys.modules["fastai.learner"])["Learner"] = learner
        torch.save(learner(), path)


FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "git lfs": (
        "m.ckpt",
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
        r"pointer of Git LFS.*git lfs pull",
    ),
    "git lfs of safetensors": (
        "model.safetensors",
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
        r"pointer of Git LFS.*git lfs pull",
    ),
    "web page": ("m.ckpt", lambda path: path.write_text("\n<!DOCTYPE html><html>"), r"web page.*curl -L -o"),
    "web page as safetensors": (
        "m.safetensors", lambda path: path.write_text("<html lang=en>...</html>"), r"web page.*curl -L -o",
    ),
    "error of a server": ("m.pt", lambda path: path.write_text("<?xml version='1.0'?><Error/>"), "XML document"),
    "openvino": ("m.xml", lambda path: path.write_text('<?xml version="1.0"?>\n<net name="a">'), "OpenVINO.*exported"),
    "paddle": ("m.pdparams", lambda path: path.write_bytes(pickle.dumps({"a": [1]})), "weights of PaddlePaddle"),
    "numpy": ("m.npz", _zipped("conv1.npy"), r"NumPy arrays.*timm\.create_model.*m\.npz"),
    "joblib": ("m.joblib", lambda path: path.write_bytes(pickle.dumps({"a": [1]})), "scikit-learn"),
    "flax": ("flax_model.msgpack", lambda path: path.write_bytes(b"\x81\xa6params\x80"), "Flax"),
    "core ml": ("m.mlmodel", lambda path: path.write_bytes(b"\x08\x04"), "Core ML.*exported from"),
    "keras h5": ("m.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), r"Keras.*src\.train"),
    "keras": (
        "m.keras", _zipped("metadata.json", "config.json", "model.weights.h5"), r"Keras archive.*src\.train",
    ),
    "onnx": ("m.onnx", lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch"), "ONNX.*exported from"),
    "tensorflow lite": ("m.tflite", lambda path: path.write_bytes(b"\x1c\0\0\0TFL3"), "TensorFlow Lite"),
    "gzip": ("m.ckpt.gz", lambda path: path.write_bytes(gzip.compress(b"x")), "gzip-compressed.*gunzip"),
    "bzip2": ("m.ckpt.bz2", lambda path: path.write_bytes(bz2.compress(b"x")), "bzip2-compressed.*bunzip2"),
    "xz": ("m.ckpt.xz", lambda path: path.write_bytes(lzma.compress(b"x")), "xz-compressed.*unxz"),
    "zstd": ("m.ckpt.zst", lambda path: path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(9)), "zstd-compressed.*unzstd"),
    "7-zip": ("m.7z", lambda path: path.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(9)), "7-Zip archive"),
    "rar": ("m.rar", lambda path: path.write_bytes(b"Rar!\x1a\x07" + bytes(9)), "RAR archive"),
    "tar": ("m.tar", _tar, "tar archive.*tar -xf"),
    "zip": ("m.zip", _zipped("a/model.ckpt", "a/readme.txt"), "archive of other files: unpack it"),
    "fastai": ("export.pkl", _export_of_fastai, r"export of fastai.*load_learner"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "write", "message"), FILES.values(), ids=FILES)
def test_a_file_of_another_kind_is_named(
    name: str, write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    """One sentence says what the file is and what to do."""
    write(tmp_path / name)
    with pytest.raises(ModelError, match=f"(?s){message}"):
        read_source(tmp_path / name)


def _touched(*names: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")

    return write


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "deepspeed": (_touched("latest", "zero_to_fp32.py", "checkpoint/mp_rank_00_model_states.pt"), r"zero_to_fp32\.py"),
    "fsdp": (_touched(".metadata", "__0_0.distcp", "meta.pt"), r"FSDP.*dcp_to_torch"),
    "tensorflow": (_touched("saved_model.pb", "variables/variables.index"), r"TensorFlow.*src\.train"),
    "adapter": (_touched("adapter_config.json", "adapter_model.safetensors"), r"adapter.*merge_and_unload"),
    "several": (_touched("a.ckpt", "b.ckpt"), r"contains 2 checkpoints \(a\.ckpt, b\.ckpt"),
    "timm's script": (_touched("last.pth.tar", "args.yaml", "model_best.pth.tar"), "contains 2 checkpoints"),
    "accelerate": (_touched("model.safetensors", "model_1.safetensors"), r"2 checkpoints \(model\.saf.*, model_1\.saf"),
    "none": (_touched("readme.txt"), "contains no checkpoint"),
}


@pytest.mark.parametrize(("write", "message"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_of_another_kind_is_named(write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    """One sentence says what the folder holds and what to do."""
    write(tmp_path)
    with pytest.raises(ModelError, match=message):
        read_source(tmp_path)


def _command(message: str) -> list[str]:
    """Return the command in a message, for this Python."""
    words = shlex.split(message[message.index("python ") :].partition(": use ")[0])
    return [sys.executable, *words[1:]]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch, about TorchScript
def test_the_command_for_torchscript_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in the refusal of a TorchScript archive saves its tensors under their names."""
    monkeypatch.chdir(tmp_path)
    torch.jit.save(torch.jit.trace(NETWORK, torch.zeros(1, 3)), "traced.pt")  # type: ignore[no-untyped-call]
    with pytest.raises(ModelError, match="TorchScript") as refused:
        read_source(Path("traced.pt"))
    subprocess.run(_command(str(refused.value)), check=True)
    assert read_source(Path("weights.pt")).file.tensors.keys() == NETWORK.state_dict().keys()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # of torch, about a single process
def test_the_command_for_fsdp_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in the refusal of a distributed checkpoint saves its tensors under their names."""
    monkeypatch.chdir(tmp_path)
    save_parts({"state_dict": NETWORK.state_dict()}, checkpoint_id="parts", no_dist=True)
    with pytest.raises(ModelError, match="FSDP") as refused:
        read_source(Path("parts"))
    subprocess.run(_command(str(refused.value)), check=True)
    assert read_source(Path("weights.pt")).file.tensors.keys() == NETWORK.state_dict().keys()


@pytest.mark.parametrize("inner", ["", "archive"])
def test_the_command_for_an_unpacked_file_works(inner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems unpack every archive that they download, also those of torch.save."""
    torch.save(NETWORK.state_dict(), tmp_path / "file.pt")
    shutil.unpack_archive(tmp_path / "file.pt", tmp_path / "folder", "zip")
    (tmp_path / "folder" / "file").rename(tmp_path / "folder" / "archive")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="unpacked; pack it again") as refused:
        read_source(tmp_path / "folder" / inner)
    _, command = str(refused.value).split("with python ")
    subprocess.run([sys.executable, *shlex.split(command.removesuffix(": use weights.zip."))], check=True)
    assert read_source(tmp_path / "weights.zip").file.tensors["0.weight"].equal(NETWORK.state_dict()["0.weight"])


def test_a_folder_with_one_checkpoint_is_read(tmp_path: Path) -> None:
    """The output folder of DeepSpeed's command, or any folder with one file, is read like the file."""
    (tmp_path / "config.yaml").touch()
    torch.save(NETWORK.state_dict(), tmp_path / "pytorch_model.bin")
    assert read_source(tmp_path).file.tensors.keys() == NETWORK.state_dict().keys()


def test_a_config_of_no_library_holds_hyper_parameters(tmp_path: Path) -> None:
    """PyTorchModelHubMixin stores the arguments of the class there; of a library's, its reader takes what it needs."""
    save_file(NETWORK.state_dict(), tmp_path / "model.safetensors")
    for config, expected in (({"classes": ["a", "b"]}, ["a", "b"]), ({"model_type": "vit", "classes": 2}, None)):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert read_source(tmp_path).file.hyper_parameters.get("classes") == expected


@pytest.mark.parametrize("other", ["tf_model.h5", "zero_to_fp32.py", "global_step9/mp_rank_00_model_states.pt"])
def test_files_of_other_libraries_beside_the_weights_do_not_matter(other: str, tmp_path: Path) -> None:
    """A clone from the hub has the same weights for TensorFlow, and a Trainer's folder those of DeepSpeed."""
    _touched(other)(tmp_path)
    save_file(NETWORK.state_dict(), tmp_path / "model.safetensors")
    assert read_source(tmp_path).file.tensors.keys() == NETWORK.state_dict().keys()


def test_weights_in_several_files_are_joined(tmp_path: Path) -> None:
    """The files in an index are read together, whether the folder or the index is given."""
    state = NETWORK.state_dict()
    for name, tensor in state.items():
        save_file({name: tensor}, tmp_path / f"{name}.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: f"{name}.safetensors" for name in state}}))
    for given in (tmp_path, index):
        tensors = read_source(given).file.tensors
        assert all(tensors[name].equal(tensor) for name, tensor in state.items())


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {"a": "../secret.safetensors"}}', "["])
def test_an_index_without_files_beside_it_is_explained(content: str, tmp_path: Path) -> None:
    """An index without names, or with files in other folders, is refused."""
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(ModelError, match=r"does not say which files|is not JSON"):
        read_source(index)

"""Refuse files and folders of unsupported kinds, with the name of each and how to convert it."""

import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from src.checkpoints.reading.stand_ins import StandIn
from src.errors import ModelError

__all__ = ["check_folder", "check_kind", "refuse_object"]

_START: Final = 512  # bytes; enough to identify a kind
_PICKLE: Final = b"\x80"
_OF_TORCH: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # what torch before 1.6 writes first
_OF_OPENVINO: Final = b"<net name="
_ONLY_KERAS: Final = "it holds no PyTorch weights: train a network on the same images with python -m src.train FOLDER."

# First bytes of a file -> what it is, and what to do; {path} is its path.
_STARTS: Final[Mapping[bytes, str]] = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself: run git lfs pull in its repository.",
    b"<!doctype html": "is a web page, not the file that it links to: download that, as curl -L -o FILE ADDRESS does.",
    b"<html": "is a web page, not the file that it links to: download that, as curl -L -o FILE ADDRESS does.",
    b"<?xml": "is an XML document, such as a server's error response: download the file again.",
    b"\x89hdf\r\n\x1a\n": f"is an HDF5 file, as Keras writes them; {_ONLY_KERAS}",
    b"bzh": "is bzip2-compressed: unpack it with bunzip2 or tar -xjf {path} and name the checkpoint in it.",
    b"\xfd7zxz": "is xz-compressed: unpack it with unxz or tar -xJf {path} and name the checkpoint in it.",
    b"(\xb5/\xfd": "is zstd-compressed: unpack it with unzstd or tar --zstd -xf {path} and name the checkpoint in it.",
    b"7z\xbc\xaf'\x1c": "is a 7-Zip archive: unpack it and name the checkpoint in it.",
    b"rar!": "is a RAR archive: unpack it and name the checkpoint in it.",
    b"\x1f\x8b": "is gzip-compressed: unpack it with gunzip or tar -xzf {path} and name the checkpoint in it.",
    b"tdf3": "is a TensorFlow Lite model: use a checkpoint of PyTorch.",
}
# Entries of an archive -> what it is, and what to do.
_ENTRIES: Final[Mapping[str, str]] = {
    "constants.pkl": 'is a TorchScript archive; save its weights alone with python -c "import torch;'
    " torch.save(torch.jit.load('{path}', map_location='cpu').state_dict(), 'weights.pt')\": use weights.pt.",
    "model.weights.h5": f"is a Keras archive; {_ONLY_KERAS}",
    "models/model.json": 'is a program of torch.export; save its weights alone with python -c "import torch;'
    " torch.save(torch.export.load('{path}').state_dict, 'weights.pt')\": use weights.pt.",
    "serialized_exported_program.json": "is a program of torch.export; save its weights alone with python -c"
    " \"import torch; torch.save(torch.export.load('{path}').state_dict, 'weights.pt')\": use weights.pt.",
}
_COMPILED: Final = "which has no named weights: use the checkpoint that it was exported from."
_ENDINGS: Final[Mapping[str, str]] = {
    ".onnx": f"is an ONNX model, {_COMPILED}",
    ".engine": f"is a TensorRT engine, {_COMPILED}",
    ".mlmodel": f"is a Core ML model, {_COMPILED}",
    ".msgpack": "is a model of Flax: use a checkpoint of PyTorch.",
    ".caffemodel": "is a Caffe model: use a checkpoint of PyTorch.",
    ".pdparams": "holds weights of PaddlePaddle: use a checkpoint of PyTorch.",
    ".joblib": "was written by joblib, as models of scikit-learn are: use a checkpoint of PyTorch.",
    ".npz": "is an archive of NumPy arrays: load them into their network, such as one of timm with"
    " timm.create_model(NAME, checkpoint_path='{path}'), and use what torch.save(network.state_dict(), 'weights.pt')"
    " writes.",
    ".tflite": "is a TensorFlow Lite model: use a checkpoint of PyTorch.",
    ".pb": "is a TensorFlow model: use a checkpoint of PyTorch.",
}
_FASTAI: Final = (
    'is an export of fastai; save its weights alone with python -c "import torch; from fastai.learner import'
    " load_learner; torch.save(load_learner('{path}').model.state_dict(), 'weights.pt')\": use weights.pt."
)
_ALONE: Final = (
    "where it was created, save the state dict alone with torch.save(network.state_dict(), 'weights.pt'), and use that"
    " file."
)
_BARE: Final = f"is a pickle that torch.save did not write: {_ALONE}"
_DEEPSPEED: Final = (
    "is a sharded DeepSpeed checkpoint; merge it with python {path}/zero_to_fp32.py {path} weights: use weights."
)
_DISTRIBUTED: Final = (
    "is a distributed checkpoint of FSDP; merge its shards with"
    " python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} weights.pt: use weights.pt."
)
_TENSORFLOW: Final = f"is a TensorFlow or Keras model; {_ONLY_KERAS}"
_ADAPTER: Final = (
    "is a PEFT adapter, which lacks its base network: merge both with"
    " model.merge_and_unload().save_pretrained(FOLDER), and use that folder."
)
_UNPACKED: Final = (
    'is a file of torch.save that was unpacked; pack it again with python -c "import pathlib, shutil; folder ='
    " pathlib.Path('{path}').resolve(); shutil.make_archive('weights', 'zip', folder.parent, folder.name)\": use"
    " weights.zip."
)
# What a folder holds -> what it is.
_HOLDS: Final[Mapping[str, str]] = {
    "**/*_model_states.pt": _DEEPSPEED,
    "zero_to_fp32.py": _DEEPSPEED,
    "*.distcp": _DISTRIBUTED,
    "*/*.distcp": _DISTRIBUTED,
    "adapter_config.json": _ADAPTER,
    "saved_model.pb": _TENSORFLOW,
    "model.weights.h5": _TENSORFLOW,
    "tf_model.h5": _TENSORFLOW,
    "data/0": _UNPACKED,
    "*/data/0": _UNPACKED,
}


def check_kind(path: Path) -> None:
    """Refuse a file of a known but unsupported kind.

    Raises:
        ModelError: The file is of such a kind; the message names it, and how to convert the file.
    """
    with path.open("rb") as file:
        start = file.read(_START)
    said = f"is an OpenVINO model, {_COMPILED}" if _OF_OPENVINO in start else None
    said = said or next((text for magic, text in _STARTS.items() if start.lstrip().lower().startswith(magic)), None)
    said = said or _ENDINGS.get(path.suffix.lower())
    if said is None and zipfile.is_zipfile(path):
        said = _in_archive(path)
    elif said is None and tarfile.is_tarfile(path):
        said = "is a tar archive: unpack it with tar -xf {path} and name the checkpoint in it."
    elif said is None and start.startswith(_PICKLE) and not start.startswith(_OF_TORCH):
        said = _BARE
    if said:
        _refuse(path, said)


def _in_archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return None  # reported where its contents are read
    inside = {name.partition("/")[2] for name in names} | set(names)
    for entry, text in _ENTRIES.items():
        if entry in inside:
            return text
    if names and not any(name.endswith("data.pkl") for name in names):
        return "is an archive of other files: unpack it and name the checkpoint in it."
    return None


def refuse_object(path: Path, content: object) -> None:
    """Refuse a file of torch.save that holds neither a network nor a state dict.

    Raises:
        ModelError: Always; the message names what the file holds.
    """
    called = content.called if isinstance(content, StandIn) else type(content).__name__
    if called.startswith("fastai."):
        _refuse(path, _FASTAI)
    raise ModelError(f"{path} holds a {called} instead of a checkpoint or a state dict: {_ALONE}")


def check_folder(folder: Path, *, has_weights: bool) -> None:
    """Refuse a folder of a known but unsupported kind.

    A folder that ``has_weights`` of its own may hold those of other libraries, too, but not an adapter for them.

    Raises:
        ModelError: The folder is of such a kind; the message names it, and how to convert the folder.
    """
    for pattern, text in _HOLDS.items():
        if (text is _ADAPTER or not has_weights) and (found := next(folder.glob(pattern), None)):
            _refuse(found.parents[1] if text is _UNPACKED else folder, text)


def _refuse(path: Path, text: str) -> None:
    raise ModelError(f"{path} {text.replace('{path}', str(path))}")

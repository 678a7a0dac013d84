"""A checkpoint -> a verified model in a folder, ready for the store."""

import gc
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from src.errors import ModelError
from src.model.checkpoint import Checkpoint
from src.model.convert import convert
from src.model.derive import derive
from src.model.files import CLOSED_FORM, COMPILED, MANIFEST, MODULE, WEIGHTS, sha256
from src.model.manifest import Head, InputSpec, Manifest
from src.model.openvino_runtime import OpenVinoRuntime
from src.model.restore import make, restore
from src.model.split import SplitNetwork, split
from src.model.tensors import load_weights
from src.model.torch_runtime import TorchRuntime
from src.model.verify import Agreement, Verification, answers, compare, random_pictures, verify

__all__ = ["Draft", "draft"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A verified model, written to ``folder`` and read back from there, that is not in the store yet.

    ``agreement`` is that of the converted form with torch; None where torch itself will run the network.
    """

    folder: Path
    manifest: Manifest
    verification: Verification
    agreement: Agreement | None

    @property
    def size_bytes(self) -> int:
        """Size of the files that the store will hold."""
        return sum(file.stat().st_size for file in self.folder.iterdir())


@contextmanager
def draft(checkpoint: Checkpoint) -> Iterator[Draft]:
    """Verify the network of ``checkpoint`` and write it to a folder that is gone afterwards.

    Raises:
        ModelError: The weights do not fit, or the network cannot be explained.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        manifest, stored, verification = _written(checkpoint, folder)
        del checkpoint  # its weights are a network's worth of memory,
        gc.collect()  # and held by graphs that refer to themselves
        networks = [stored]
        del stored  # the same
        manifest, agreement = _with_engine(networks, manifest, folder)
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        yield Draft(folder, manifest, verification, agreement)


def _written(checkpoint: Checkpoint, folder: Path) -> tuple[Manifest, SplitNetwork, Verification]:
    """Write the network of ``checkpoint``, read it back, and verify that it is the same."""
    network = make(checkpoint.architecture, len(checkpoint.labels), checkpoint.module, checkpoint.arguments)
    load_weights(network, checkpoint.weights)
    parts = split(network, checkpoint.input.crop, checkpoint.layer)
    manifest = _write(checkpoint, network, parts.layer, folder)
    stored = restore(folder, manifest)
    return manifest, stored, verify(network, parts, stored, checkpoint.input.crop)


def _write(checkpoint: Checkpoint, network: nn.Module, layer: str, folder: Path) -> Manifest:
    """Write the weights, and the code where it is the person's own; return the manifest of a network run by torch."""
    if checkpoint.module is not None:
        shutil.copyfile(checkpoint.module, folder / MODULE)
    save_file(_unshared(network.state_dict()), folder / WEIGHTS)
    return Manifest(
        architecture=checkpoint.architecture,
        arguments=dict(checkpoint.arguments),
        labels=checkpoint.labels,
        input=checkpoint.input,
        layer=layer,
        engine="torch",
        head="autograd",
        sha256=_sums(folder),
    )


def _unshared(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return contiguous ``tensors``, copies of those that share memory with earlier ones, as tied weights do."""
    kept: dict[str, torch.Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        kept[name] = tensor.clone(memory_format=torch.contiguous_format) if storage in storages else tensor.contiguous()
        storages.add(storage)
    return kept


def _with_engine(networks: list[SplitNetwork], manifest: Manifest, folder: Path) -> tuple[Manifest, Agreement | None]:
    """Convert the only one of ``networks`` for OpenVINO; return the manifest that says so, or why it stays with torch.

    It is taken from the list, so that its memory is free when OpenVINO compiles, which takes as much again.
    """
    network = networks.pop()
    expected = answers(TorchRuntime.of(network, manifest.input, "cpu", "fp32", 1), manifest.input.crop)
    try:
        head = _convert(network, manifest.input, folder)
        del network
        gc.collect()  # the graphs that it was traced to refer to themselves
        converted = manifest.model_copy(update={"engine": "openvino", "head": head, "sha256": _sums(folder)})
        running = OpenVinoRuntime.start(folder, converted, "fp32", 1)
        return converted, compare(running, expected, manifest.input.crop)
    except ModelError as exc:
        for file in folder.iterdir():
            if file.name not in manifest.sha256:
                file.unlink()
        return manifest.model_copy(update={"note": str(exc)}), None


def _convert(network: SplitNetwork, spec: InputSpec, folder: Path) -> Head:
    """Write the converted network, and the closed form of its head where it has one; return how that is explained."""
    with torch.no_grad():
        features = network.backbone(random_pictures(spec.crop))
    derived = derive(network.head, features)
    if derived is None:
        convert(network.backbone, None, spec, folder / COMPILED)
        return "autograd"
    convert(network.backbone, derived.module, spec, folder / COMPILED)
    derived.form.save(folder / CLOSED_FORM)
    return "closed_form"


def _sums(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file) for file in sorted(folder.iterdir())}

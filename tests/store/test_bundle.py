"""Storing models and loading them with verification."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import bentoml
import numpy as np
import pytest
import torch
from torch import nn

import save_model
from src.checkpoints.checkpoint import Checkpoint
from src.checkpoints.tensors import load_weights
from src.conversion.draft import Draft, draft
from src.errors import ModelError
from src.runtimes.select import start
from src.stages.input_spec import InputSpec
from src.store import bundle

SPEC = InputSpec(
    resize=(256, 256),
    crop=(224, 224),
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
ARCHITECTURE = "own/small"


class _Small(nn.Module):
    """Two convolutions, pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU())
        self.conv5 = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU())
        self.fc = nn.Linear(16, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 2)."""
        logits: torch.Tensor = self.fc(self.conv5(self.conv1(images)).mean(dim=(2, 3)))
        return logits


def checkpoint(**changes: torch.Tensor | None) -> Checkpoint:
    """Return a small network with two classes; ``changes`` replace or (None) remove tensors, with __ for the dots."""
    torch.manual_seed(0)
    network = _Small().eval().requires_grad_(requires_grad=False)
    weights = network.state_dict()
    for name, tensor in changes.items():
        key = name.replace("__", ".")
        if tensor is None:
            del weights[key]
        else:
            weights[key] = tensor
    load_weights(network, weights)
    return Checkpoint(ARCHITECTURE, ("bus", "car"), SPEC, network)


@pytest.fixture(scope="module")
def verified() -> Iterator[Draft]:
    """A verified network, to be stored again and again."""
    with draft(checkpoint()) as one:
        yield one


def test_a_stored_model_is_read_back_exactly(verified: Draft) -> None:
    """The manifest is unchanged, and the network returns bit for bit the logits of the original."""
    tag = bundle.store(verified.folder, verified.manifest, "roundtrip")
    loaded = bundle.load(tag)
    assert (loaded.tag, loaded.manifest) == (tag, verified.manifest)
    assert (loaded.manifest.labels, loaded.manifest.input) == (("bus", "car"), SPEC)
    assert (verified.verification.captured, verified.verification.cut) == (0, 0)
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    with torch.inference_mode():
        expected = checkpoint().network(torch.from_numpy(SPEC.normalize(pixels))[None])[0].numpy()
    running = start(loaded.folder, loaded.manifest, threads=1, device="cpu", runtime="torch")
    np.testing.assert_array_equal(running.evaluate(pixels).logits, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fc__bias": None}, r"fc\.bias is missing"),
        ({"extra": torch.zeros(1)}, "extra is not part of the network"),
        ({"fc__bias": torch.zeros(3)}, r"fc\.bias has the shape \(3,\) instead of \(2,\)"),
        (
            {"conv1__0__weight": torch.full((8, 3, 7, 7), torch.nan)},
            r"not finite: the tensor conv1\.0\.weight holds NaN",
        ),
        ({"fc__weight": torch.zeros(2, 16)}, "the same logits for every image"),
        ({"conv5__1__weight": torch.zeros(16)}, "the same logits for every image"),
    ],
    ids=["missing", "surplus", "mis-shaped", "nan", "dead head", "dead features"],
)
def test_a_faulty_network_is_not_stored(changes: dict[str, torch.Tensor | None], message: str) -> None:
    """Wrong tensors, NaN weights and a network with constant outputs are refused."""
    with pytest.raises(ModelError, match=message), draft(checkpoint(**changes)):
        pytest.fail("it can be stored")


def test_versions_are_kept(verified: Draft) -> None:
    """A version can be named, is stored with the results of its check, and is not replaced."""
    figures = {"images": 4, "accuracy": 0.75, "recall": {"bus": 1.0, "car": 0.5}}
    assert bundle.store(verified.folder, verified.manifest, "versions", "one", {"check": figures}) == "versions:one"
    assert bundle.store(verified.folder, verified.manifest, "versions", "two") == "versions:two"
    with pytest.raises(ModelError, match="refused 'versions:one'"):
        bundle.store(verified.folder, verified.manifest, "versions", "one")
    bundle.check_free("versions", "three")
    bundle.check_free("versions", None)
    bundle.check_free("versions", "o")  # which BentoML takes for the beginning of another version
    with pytest.raises(ModelError, match="latest always means the newest version: choose another"):
        bundle.check_free("versions", "latest")
    with pytest.raises(ModelError, match="already has versions:one: choose another version"):
        bundle.check_free("versions", "one")
    assert bundle.load("versions:one").check == figures
    assert bundle.load("versions:two").check == {}


def test_a_missing_model_is_explained() -> None:
    """A tag that the store does not have is an error that says what to run."""
    with pytest.raises(ModelError, match=r"no model nothing:latest in the model store: run save_model.py first"):
        bundle.load("nothing:latest")


@pytest.mark.parametrize("tag", ["no tag!", "no tag!:1", "name:"])
def test_a_tag_that_is_none_is_explained(tag: str) -> None:
    """The error names it."""
    with pytest.raises(ModelError, match=f"Cannot look up '{tag}' in the model store"):
        bundle.load(tag)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no-metadata", None, "Cannot look up 'no-metadata:.*model.yaml"),
        ("no-yaml", "{", r"no-yaml:.* is damaged \(its model\.yaml\)"),
    ],
)
def test_a_damaged_description_is_refused(name: str, content: str | None, message: str, verified: Draft) -> None:
    """A model whose model.yaml is missing or damaged is an error for whoever loads it or lists the store."""
    tag = bundle.store(verified.folder, verified.manifest, name)
    metadata = Path(bentoml.models.get(tag).path) / "model.yaml"
    before = metadata.read_bytes()
    metadata.unlink()
    if content is not None:
        metadata.write_text(content)
    try:
        with pytest.raises(ModelError, match=message):
            bundle.load(tag)
        with pytest.raises(ModelError, match=r"The model store .*model\.yaml"):
            save_model._list()
        with pytest.raises(
            ModelError, match=f"newest model {name} .* is damaged .*: delete its folder in models/{name}"
        ):
            bundle.check_free(name, "another")
        with pytest.raises(ModelError, match=f"Cannot look up '{name}'"):
            save_model._is_stored(name)
    finally:
        metadata.write_bytes(before)  # other tests use the same store


def _edit_manifest(folder: Path, **changes: object) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _flip_a_byte(folder: Path, name: str) -> None:
    file = folder / name
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "no readable manifest"),
    "manifest is no JSON": (lambda folder: (folder / "manifest.json").write_text("{"), "no readable manifest"),
    "earlier schema": (
        lambda folder: _edit_manifest(folder, schema_version=2),
        "stored by an earlier version: store it",
    ),
    "later schema": (lambda folder: _edit_manifest(folder, schema_version=4), "no readable manifest"),
    "unknown field": (lambda folder: _edit_manifest(folder, run="os.system"), "no readable manifest"),
    "no weights": (lambda folder: (folder / "weights.safetensors").unlink(), "missing or changed"),
    "flipped byte": (lambda folder: _flip_a_byte(folder, "weights.safetensors"), "weights.safetensors in .* changed"),
    "no network": (lambda folder: (folder / "network.bin").unlink(), "network.bin in .* is missing"),
    "flipped byte in the network": (lambda folder: _flip_a_byte(folder, "network.bin"), "network.bin in .* changed"),
    "no program": (lambda folder: (folder / "network.pt2").unlink(), "network.pt2 in .* is missing"),
    "flipped byte in the head": (
        lambda folder: _flip_a_byte(folder, "closed_form.safetensors"),
        "closed_form.*changed",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_model_is_refused(damage: Callable[[Path], object], message: str, verified: Draft) -> None:
    """Whatever was changed in the store, loading fails with one sentence that says so."""
    tag = bundle.store(verified.folder, verified.manifest, "damaged")
    damage(Path(bentoml.models.get(tag).path))
    with pytest.raises(ModelError, match=message):
        bundle.load(tag)


def test_every_user_can_read_a_stored_model(verified: Draft) -> None:
    """A container runs as any user, and reads the mounted model store."""
    tag = bundle.store(verified.folder, verified.manifest, "readable")
    folder = bundle.load(tag).folder
    assert folder.stat().st_mode & 0o005 == 0o005
    assert all(file.stat().st_mode & 0o004 for file in folder.iterdir())

"""Storing networks and reading them back, strictly."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import bentoml
import pytest
import torch

from src.errors import ModelError
from src.model import bundle
from src.model.checkpoint import Checkpoint
from src.model.draft import Draft, draft
from src.model.files import checked_manifest
from src.model.manifest import InputSpec
from src.model.network import build
from src.model.restore import restore

SPEC = InputSpec(
    resize=(256, 256),
    crop=(224, 224),
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
ARCHITECTURE = "torchvision/shufflenet_v2_x0_5"


def checkpoint(**changes: torch.Tensor | None) -> Checkpoint:
    """Return a small network with two classes; ``changes`` replace or (None) remove tensors, with __ for the dots."""
    torch.manual_seed(0)
    weights = build(ARCHITECTURE, 2).state_dict()
    for name, tensor in changes.items():
        key = name.replace("__", ".")
        if tensor is None:
            del weights[key]
        else:
            weights[key] = tensor
    return Checkpoint(ARCHITECTURE, ("bus", "car"), SPEC, weights)


def save(original: Checkpoint, name: str) -> tuple[str, Draft]:
    """Verify and store a network; return its tag and what was verified."""
    with draft(original) as verified:
        return bundle.store(verified, name), verified


def test_what_is_stored_is_read_back_exactly() -> None:
    """The manifest comes back as it was, and the network gives bit for bit the logits of the original."""
    original = checkpoint()
    tag, verified = save(original, "roundtrip")
    loaded = bundle.load(tag)
    assert (loaded.tag, loaded.manifest) == (tag, verified.manifest)
    assert (loaded.manifest.labels, loaded.manifest.input) == (("bus", "car"), SPEC)
    assert (verified.verification.split, verified.verification.stored) == (0, 0)
    network = build(ARCHITECTURE, 2)
    network.load_state_dict(dict(original.weights))
    pictures = torch.randn(2, 3, 224, 224)
    restored = restore(loaded.folder, loaded.manifest)
    with torch.inference_mode():
        assert torch.equal(restored.head(restored.backbone(pictures)), network(pictures))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fc__bias": None}, r"fc\.bias is missing"),
        ({"extra": torch.zeros(1)}, "extra is not part of the network"),
        ({"fc__bias": torch.zeros(3)}, r"fc\.bias has the shape \(3,\) instead of \(2,\)"),
        (
            {"conv1__0__weight": torch.full((24, 3, 3, 3), torch.nan)},
            r"not finite: the tensor conv1\.0\.weight holds NaN",
        ),
        ({"fc__weight": torch.zeros(2, 1024)}, "answers the same to every picture"),
        ({"conv5__1__weight": torch.zeros(1024)}, "answers the same to every picture"),
    ],
    ids=["missing", "surplus", "mis-shaped", "nan", "dead head", "dead features"],
)
def test_a_network_that_cannot_serve_is_not_stored(changes: dict[str, torch.Tensor | None], message: str) -> None:
    """Wrong tensors, NaN weights and a network that answers the same to everything are refused; nothing is stored."""
    with pytest.raises(ModelError, match=message):
        save(checkpoint(**changes), "refused")
    assert not [model for model in bentoml.models.list() if model.tag.name == "refused"]


def test_versions_stand_side_by_side() -> None:
    """A version can be named, is kept with the figures of its check, and is not replaced."""
    with draft(checkpoint()) as verified:
        figures = {"pictures": 4, "accuracy": 0.75, "recall": {"bus": 1.0, "car": 0.5}}
        assert bundle.store(verified, "versions", "one", figures) == "versions:one"
        assert bundle.store(verified, "versions", "two") == "versions:two"
        with pytest.raises(ModelError, match="refused 'versions:one'"):
            bundle.store(verified, "versions", "one")
    bundle.check_free("versions", "three")
    bundle.check_free("versions", None)
    with pytest.raises(ModelError, match="has versions:one already: choose another --version"):
        bundle.check_free("versions", "one")
    assert bundle.load("versions:one").check == figures
    assert bundle.load("versions:two").check == {}


def test_a_missing_model_is_explained() -> None:
    """A tag that the store does not have is an error that says what to run."""
    with pytest.raises(ModelError, match=r"no model nothing:latest in the model store: run save_model.py first"):
        bundle.load("nothing:latest")


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
    "other schema": (lambda folder: _edit_manifest(folder, schema_version=1), "no readable manifest"),
    "unknown field": (lambda folder: _edit_manifest(folder, run="os.system"), "no readable manifest"),
    "no weights": (lambda folder: (folder / "weights.safetensors").unlink(), "missing or changed"),
    "flipped byte": (lambda folder: _flip_a_byte(folder, "weights.safetensors"), "weights.safetensors in .* changed"),
    "no network": (lambda folder: (folder / "network.bin").unlink(), "network.bin in .* is missing"),
    "flipped byte in the network": (lambda folder: _flip_a_byte(folder, "network.bin"), "network.bin in .* changed"),
    "flipped byte in the head": (
        lambda folder: _flip_a_byte(folder, "closed_form.safetensors"),
        "closed_form.*changed",
    ),
}
FOREIGN: dict[str, tuple[dict[str, object], str]] = {
    "unknown network": ({"architecture": "timm/x"}, "no network 'timm/x'"),
    "unknown layer": ({"layer": "nowhere"}, "no layer 'nowhere'"),
    "other labels": ({"labels": ["bus", "car", "tram"]}, "instead of"),
}


@pytest.fixture(scope="module")
def verified() -> Iterator[Draft]:
    """A verified network, to be stored again and again."""
    with draft(checkpoint()) as one:
        yield one


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_model_is_refused(damage: Callable[[Path], object], message: str, verified: Draft) -> None:
    """Whatever was changed in the store, loading ends with one sentence that says so."""
    tag = bundle.store(verified, "damaged")
    damage(Path(bentoml.models.get(tag).path))
    with pytest.raises(ModelError, match=message):
        bundle.load(tag)


@pytest.mark.parametrize(("changes", "message"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_manifest_is_refused(changes: dict[str, object], message: str, verified: Draft) -> None:
    """A manifest that is not that of the files beside it cannot be restored, and the error says why."""
    folder = Path(bentoml.models.get(bundle.store(verified, "foreign")).path)
    _edit_manifest(folder, **changes)
    with pytest.raises(ModelError, match=message):
        restore(folder, checked_manifest(folder))


def test_every_user_of_the_machine_can_read_what_is_stored() -> None:
    """A container runs as any user, and reads the model store that is mounted into it."""
    tag, _ = save(checkpoint(), "readable")
    folder = bundle.load(tag).folder
    assert folder.stat().st_mode & 0o005 == 0o005
    assert all(file.stat().st_mode & 0o004 for file in folder.iterdir())

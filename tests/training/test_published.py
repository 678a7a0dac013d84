"""Training that starts from published weights, taken from a cache that replaces the hub's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from src import train
from src.checkpoints.network import build
from src.errors import ModelError
from src.training.feed import Front
from src.training.published import first_layers, published_network
from tests.test_train import checkpoint, photos

__all__ = ["photos"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of both libraries; nothing can be downloaded."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    return tmp_path


def cached(hub: Path, architecture: str, file: str) -> dict[str, torch.Tensor]:
    """Put weights for 1,000 classes into the cache as ``file``; return them."""
    torch.manual_seed(1)
    state = {name: tensor.clone() for name, tensor in build(architecture, 1000).state_dict().items()}
    target = hub / file
    target.parent.mkdir(parents=True)
    if target.suffix == ".safetensors":
        save_file(state, target)
        (target.parents[2] / "refs").mkdir()
        (target.parents[2] / "refs" / "main").write_text(target.parent.name)
    else:
        torch.save(state, target)
    return state


TIMM = "hub/models--timm--test_resnet.r160_in1k/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors"
TORCHVISION = "torch/hub/checkpoints/squeezenet1_1-b8a52dc0.pth"


@pytest.mark.parametrize(
    ("architecture", "file", "head"),
    [("timm/test_resnet", TIMM, "fc."), ("torchvision/squeezenet1_1", TORCHVISION, "classifier.1.")],
)
def test_published_weights_are_taken_from_the_cache(hub: Path, architecture: str, file: str, head: str) -> None:
    """All tensors except the last layer's are the published ones, for both libraries."""
    stored = cached(hub, architecture, file)
    found = published_network(architecture, 3).state_dict()
    assert all(torch.equal(found[name], stored[name]) for name in found if not name.startswith(head))
    assert found[f"{head}bias"].shape == (3,)


@pytest.mark.parametrize("architecture", ["timm/test_resnet", "torchvision/squeezenet1_1", "timm/test_vit2"])
@pytest.mark.usefixtures("hub")
def test_unavailable_weights_are_explained(architecture: str) -> None:
    """If weights are neither in the cache nor can be downloaded, the message says so and names --from-scratch."""
    with pytest.raises(ModelError, match=r"cannot be downloaded.*--from-scratch"):
        published_network(architecture, 3)


def test_a_network_without_published_weights_is_named() -> None:
    """An internet connection would not help."""
    with pytest.raises(ModelError, match=r"No weights of timm/mobilenetv2_035 are published: .* --from-scratch"):
        published_network("timm/mobilenetv2_035", 3)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("torchvision/resnet18", ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")),
        ("timm/test_resnet", ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3")),
        ("torchvision/squeezenet1_1", ()),
        ("timm/test_vit", ()),
    ],
)
def test_the_first_layers_are_found(architecture: str, expected: tuple[str, ...]) -> None:
    """They run in sequence before all else, and have at most half of the weights."""
    torch.manual_seed(0)
    assert first_layers(build(architecture, 3), torch.rand(1, 3, 160, 160)) == expected


def test_training_starts_from_published_weights(
    hub: Path,
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The frozen layers stay the published ones, also in a resumed run, which needs no cache; the others learn."""
    stored = cached(hub, "timm/test_resnet", TIMM)
    out = hub / "out"
    command = [str(photos), "--batch-size", "8", "--out", str(out)]
    assert train.main([*command, "--arch", "timm/test_resnet", "--epochs", "1"]) == 0
    assert "timm/test_resnet, from published weights" in capsys.readouterr().out
    content = checkpoint(out / "last.ckpt")
    state, frozen = content["state_dict"], content["hyper_parameters"]["frozen"]
    assert "layer1" in frozen
    for name, tensor in state.items():
        plain = name.removeprefix("network.")
        if plain.endswith(("running_mean", "running_var")) or plain.partition(".")[0] in frozen:
            assert torch.equal(tensor, stored[plain]), name
    assert not torch.equal(state["network.layer4.0.conv1.weight"], stored["layer4.0.conv1.weight"])
    (hub / TIMM).unlink()
    fronts: list[dict[str, torch.Tensor]] = []

    def observed(layers: Sequence[torch.nn.Module], *arguments: Any, **options: Any) -> Front:
        fronts.append({f"conv1.{name}": tensor.clone() for name, tensor in layers[0].state_dict().items()})
        return Front(layers, *arguments, **options)

    monkeypatch.setattr("src.training.feed.Front", observed)
    assert train.main([*command, "--epochs", "2", "--resume", str(out / "last.ckpt")]) == 0
    assert len(fronts) == 2
    assert all(torch.equal(tensor, stored[name]) for front in fronts for name, tensor in front.items())

"""A model that the image does not hold, mounted into it."""

import os
from pathlib import Path
from typing import Final

import bentoml
import httpx
import numpy as np
import pytest
import timm
import torch
from torchvision.models import resnet18

import save_model
from src.checkpoints.own.module import Arguments, instantiate
from src.options import Options
from src.pipeline import Pipeline, Recognition
from src.runtimes.select import start
from src.stages.decode import DecodeLimits
from src.store import bundle
from tests.container.images import Image
from tests.container.running import HARDENED, container, started
from tests.places import ROOT

pytestmark = pytest.mark.container

STORE: Final = "/home/bentoml/bento/models"


OWN_MODULE: Final = """
from torch import nn


class Own(nn.Sequential):
    def __init__(self):
        before = nn.Conv2d(3, 8, 16, stride=16), nn.GELU()
        super().__init__(*before, nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.LayerNorm(32), nn.Linear(32, 3))
"""


def stored(name: str, network: torch.nn.Module, folder: Path, *options: str) -> str:
    """Store a network of three classes; return the options that mount the store and name the model."""
    torch.save(network.state_dict(), folder / f"{name}.pt")
    assert save_model.main([str(folder / f"{name}.pt"), "--name", name, "--labels", "bus,car,tram", *options]) == 0
    store = Path(os.environ["BENTOML_HOME"]) / "models"
    return f"--volume {store}:{STORE}:ro --env IMAGE_RECOGNITION_MODEL={name}:latest"


def answered_here(name: str, photo: bytes) -> Recognition:
    """Return what the stored model makes of a photo outside of the container."""
    stored_model = bundle.load(f"{name}:latest")
    running = start(stored_model.folder, stored_model.manifest, threads=1, device="cpu")
    return Pipeline(stored_model.manifest, running, DecodeLimits()).recognize(photo, Options(heatmaps=True))


@pytest.mark.parametrize("kind", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "own"])
def test_any_network_is_served_and_explained_without_torch(image: Image, tmp_path: Path, kind: str) -> None:
    """A ViT, a Swin and a module of one's own answer in the small image as outside, heatmaps included."""
    torch.manual_seed(0)
    if kind == "own":
        (tmp_path / "own.py").write_text(OWN_MODULE)
        network = instantiate(tmp_path / "own.py", "Own", Arguments({}))
        options = ["--module", f"{tmp_path / 'own.py'}:Own"]
    else:
        network, options = timm.create_model(kind, num_classes=3), ["--arch", f"timm/{kind}"]
    mounted = stored(kind.split("_", maxsplit=1)[0], network, tmp_path, *options)
    photo = (ROOT / "docs" / "cat.jpg").read_bytes()
    expected = answered_here(kind.split("_", maxsplit=1)[0], photo)
    with container(image, *mounted.split()) as running:
        url = f"{running.url}/image_recognition_file"
        answer = httpx.post(url, files={"img": photo}, data={"heatmaps": "true"}, timeout=60).json()
    assert answer["explained"]["class"] == answer["result"] == expected.prediction.top[0].label
    for found, score, heatmap in zip(answer["detail"], expected.prediction.top, expected.heatmaps, strict=True):
        assert found["prob"] == pytest.approx(score.percent, abs=0.01)
        np.testing.assert_allclose(found["heatmap"], heatmap, atol=1e-3)


def test_a_mounted_model_is_served(image: Image, tmp_path: Path) -> None:
    """A store that is mounted gives the model that the settings name, read by a user that does not own it."""
    options = stored("mounted", resnet18(num_classes=3), tmp_path)
    with container(image, *options.split()) as running:
        photo = {"img": (ROOT / "docs" / "cat.jpg").read_bytes()}
        answer = httpx.post(f"{running.url}/image_recognition_file", files=photo).json()
        assert answer["result"] in {"bus", "car", "tram"}
        assert answer["model"] == str(bentoml.models.get("mounted").tag)


@pytest.mark.parametrize("setting", ["IMAGE_RECOGNITION_RUNTIME=torch", "IMAGE_RECOGNITION_DEVICE=cuda"])
def test_what_needs_torch_is_refused_in_one_sentence(image: Image, setting: str) -> None:
    """An image without torch does not start with what needs it, and says which image to use."""
    with started(image, *HARDENED, "--env", setting) as refused:
        assert refused.engine.docker("wait", refused.name) == "1"
        assert "needs torch, which is not installed here: use the image of 'make container TORCH=1'." in refused.log
        assert "Traceback" not in refused.log

"""A model that the image does not hold, mounted into it."""

import os
from pathlib import Path
from typing import Final

import bentoml
import httpx
import pytest
import torch
from torchvision.models import mobilenet_v3_small, resnet18

import save_model
from tests.container.images import Image
from tests.container.running import HARDENED, container, started
from tests.places import ROOT

pytestmark = pytest.mark.container

STORE: Final = "/home/bentoml/bento/models"


def stored(name: str, network: torch.nn.Module, folder: Path) -> str:
    """Store a network of three classes; return the options that mount the store and name the model."""
    torch.save(network.state_dict(), folder / f"{name}.pt")
    assert save_model.main([str(folder / f"{name}.pt"), "--name", name, "--labels", "bus,car,tram"]) == 0
    store = Path(os.environ["BENTOML_HOME"]) / "models"
    return f"--volume {store}:{STORE}:ro --env IMAGE_RECOGNITION_MODEL={name}:latest"


def test_a_mounted_model_is_served(image: Image, tmp_path: Path) -> None:
    """A store that is mounted gives the model that the settings name, read by a user that does not own it."""
    options = stored("mounted", resnet18(num_classes=3), tmp_path)
    with container(image, *options.split()) as running:
        photo = {"img": (ROOT / "docs" / "cat.jpg").read_bytes()}
        answer = httpx.post(f"{running.url}/image_recognition_file", files=photo).json()
        assert answer["result"] in {"bus", "car", "tram"}
        assert answer["model"] == str(bentoml.models.get("mounted").tag)


@pytest.mark.parametrize(
    "setting", ["", "--env IMAGE_RECOGNITION_RUNTIME=torch", "--env IMAGE_RECOGNITION_DEVICE=cuda"]
)
def test_what_needs_torch_is_refused_in_one_sentence(image: Image, tmp_path: Path, setting: str) -> None:
    """An image without torch does not start with what needs it, and says which image to use."""
    options = setting or stored("explained_by_torch", mobilenet_v3_small(num_classes=3), tmp_path)
    with started(image, *HARDENED, *options.split()) as refused:
        assert refused.engine.docker("wait", refused.name) == "1"
        assert "needs torch, which is not installed here: use the image of 'make container TORCH=1'." in refused.log
        assert "Traceback" not in refused.log

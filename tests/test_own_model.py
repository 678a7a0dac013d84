"""The README's way from a folder of photos to a served model, command by command."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.places import ROOT
from tests.serving import start_server

COLORS = {"blueberry": (40, 50, 150), "lemon": (230, 220, 50), "tomato": (210, 40, 30)}


def _photos(folder: Path, rng: np.random.Generator, count: int) -> None:
    for name, color in COLORS.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            noise = rng.normal(color, 25, (48, 64, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noise).save(folder / name / f"{index}.jpg")


@pytest.mark.readme  # a minute and a half
@pytest.mark.timeout(300)
def test_the_four_commands_of_the_readme(tmp_path: Path, rng: np.random.Generator) -> None:
    """Training, storing with a check, serving and asking work as printed, one after the other."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    chapter = readme.partition("## Serve your own model")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL)
    train, save, serve, ask = block.strip().splitlines()
    _photos(tmp_path / "photos", rng, 6)
    _photos(tmp_path / "other_photos", rng, 3)  # each takes a second
    (tmp_path / "photo.jpg").write_bytes((tmp_path / "photos" / "tomato" / "0.jpg").read_bytes())
    for name in ("src", "save_model.py", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = os.environ | {"BENTOML_HOME": str(tmp_path / "bentoml")}

    def run(line: str) -> str:
        command = ["/bin/sh", "-c", line]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    trained = run(train)
    assert "save_model.py runs/photos/best.ckpt" in trained
    assert (tmp_path / "runs" / "photos" / "learning_curve.png").exists()
    saved = run(save)
    found = re.search(r"(\d+) of 9 right", saved)
    assert found, saved
    assert int(found[1]) >= 8, saved
    assert "is the best method" in saved
    assert (tmp_path / "other_photos-confusion.png").exists()
    setting, *command = shlex.split(serve)
    name, _, value = setting.partition("=")
    assert command[1:] == ["serve", "service:ImageRecognition"]
    server = start_server(command[2], tmp_path, environment | {name: value})
    try:
        server.wait_until_ready()
        assert json.loads(run(ask.replace("http://localhost:8000", server.url)))["result"] == "tomato"
        model = httpx.get(f"{server.url}/model").json()
    finally:
        server.stop()
    assert model["labels"] == sorted(COLORS)
    assert model["check"]["accuracy"] == int(found[1]) / 9
    assert model["check"]["images"] == 9
    assert model["check"]["faithfulness"]["images"] == 9

"""A built bento: what it contains, and that it serves."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import bentoml
import httpx
import pytest
import yaml

from tests.places import PACKAGED_PHOTOS, ROOT
from tests.serving import BENTOML, Server, start_server

TORCH = {"torch"}


def pins(requirements: Path) -> dict[str, str]:
    """Return the version of each package; of one that has several, for several versions of Python, the last."""
    return dict(re.findall(r"^([\w.-]+)==([\w.+-]+)", requirements.read_text(encoding="utf-8"), re.MULTILINE))


@dataclass(frozen=True)
class BuiltBento:
    """A bento and the BENTOML_HOME that it was built in."""

    home: Path
    folder: Path
    model: str

    @property
    def sources(self) -> list[Path]:
        """The Python files that it holds."""
        return sorted((self.folder / "src").rglob("*.py"))


@pytest.fixture(scope="module")
def bento(stored_model: str, tmp_path_factory: pytest.TempPathFactory) -> BuiltBento:
    """A bento built by 'bentoml build', in a BENTOML_HOME of its own with the default network."""
    home = tmp_path_factory.mktemp("bentoml")
    model = bentoml.models.get(stored_model)
    shutil.copytree(Path(model.path).parent, home / "models" / stored_model)
    environment = os.environ | {"BENTOML_HOME": str(home)}
    subprocess.run([BENTOML, "build"], cwd=ROOT, env=environment, check=True, capture_output=True)
    (folder,) = (path for path in (home / "bentos" / "image_recognition").iterdir() if path.is_dir())
    return BuiltBento(home, folder, str(model.tag))


def _store_anew(bento: BuiltBento) -> None:
    """Store the model of ``bento`` once more, under the latest version."""
    name, _, packed = bento.model.partition(":")
    versions = bento.home / "models" / name
    shutil.copytree(versions / packed, versions / "newer")
    described = versions / "newer" / "model.yaml"
    described.write_text(described.read_text().replace(f"version: {packed}", "version: newer"))
    (versions / "latest").write_text("newer")


@pytest.fixture(scope="module")
def bento_server(bento: BuiltBento, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the bento, started elsewhere than in the checkout, when the store has a newer model already."""
    _store_anew(bento)
    folder = tmp_path_factory.mktemp("elsewhere")
    started = start_server("image_recognition:latest", folder, {"BENTOML_HOME": str(bento.home)}, cwd=folder)
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.stop()


def test_a_bento_holds_what_serving_needs(bento: BuiltBento) -> None:
    """The bento has service, package, pages and requirements, and no tests, commands or data."""
    held = {path.relative_to(bento.folder / "src").as_posix() for path in (bento.folder / "src").rglob("*.*")}
    assert {
        "service.py",
        "src/pipeline.py",
        "src/stages/decode/image.py",
        "src/api/page/index.html",
        "src/api/page/style.css",
        "src/api/page/samples/cat.jpg",
    } <= held
    assert not {path for path in held if "test" in path or "demo" in path or path == "save_model.py"}
    assert {Path(path).suffix for path in held} == {".py", ".html", ".css", ".js", ".jpg", ".yaml"}
    described = yaml.safe_load((bento.folder / "bento.yaml").read_text())
    assert [model["tag"] for model in described["services"][0]["models"]] == [bento.model]


def test_a_bento_names_every_package_that_its_code_imports(bento: BuiltBento) -> None:
    """Each import comes with Python, with the code, or from the pinned list; torch's only from the one with torch."""
    pinned = set(pins(bento.folder / "env/python/requirements.txt"))
    with_torch = set(pins(ROOT / "requirements-torch.txt"))
    trees = [ast.parse(file.read_text()) for file in bento.sources]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"src"}
    distributions = packages_distributions()
    for package in packages - {"pillow_heif"}:  # optional: HEIC is decoded where it is installed
        names = {re.sub(r"[._]", "-", name).lower() for name in distributions[package]}
        assert names & with_torch, package
        assert names & pinned or package in TORCH, package


def test_the_three_lists_pin_the_same() -> None:
    """What serves without torch is what serves with it, and what the tests ran with."""
    plain, torch, dev = (pins(ROOT / f"requirements{ending}.txt") for ending in ("", "-torch", "-dev"))
    assert plain.items() < torch.items() < dev.items()
    assert torch.keys() - plain.keys() >= TORCH
    assert not [name for name in torch if name.startswith(("cuda", "nvidia-cu", "triton"))]


def test_both_bentofiles_say_the_same_but_for_torch() -> None:
    """They differ in the list of packages, and in what chooses the build of torch."""
    plain, torch = (yaml.safe_load((ROOT / f"bentofile{ending}.yaml").read_text()) for ending in ("", ".torch"))
    assert torch.pop("python") != plain.pop("python")
    assert [variable["stage"] for variable in torch.pop("envs")] == ["build", "build"]
    assert torch == plain


def test_a_bento_serves_the_model_that_was_packed(bento: BuiltBento, bento_server: Server) -> None:
    """A newer version in the store does not change what an older bento answers with."""
    versions = [path for path in (bento.home / "models" / "image_recognition").iterdir() if path.is_dir()]
    assert len(versions) == 2
    assert httpx.get(f"{bento_server.url}/model").json()["model"] == bento.model


def test_a_bento_without_the_model_that_is_named_says_what_to_do(bento: BuiltBento, tmp_path: Path) -> None:
    """A bento that is to serve a model that nobody has stored ends with one sentence, without a traceback."""
    environment = {"BENTOML_HOME": str(bento.home), "IMAGE_RECOGNITION_MODEL": "nobody:latest"}
    started = start_server("image_recognition:latest", tmp_path, environment, cwd=tmp_path)
    assert started.process.wait(timeout=60) != 0
    assert "There is no model nobody:latest in the model store: run save_model.py first." in started.log
    assert "Traceback" not in started.log


def test_a_bento_answers_as_the_checkout_does(bento_server: Server, server: Server) -> None:
    """The same photo gets the same answer from the bento and from the checkout."""
    answers = [
        httpx.post(f"{one.url}/image_recognition_file", files={"img": photo.read_bytes()}).json()
        for photo in PACKAGED_PHOTOS
        for one in (bento_server, server)
    ]
    assert answers[::2] == answers[1::2]
    assert all(answer["success"] for answer in answers)

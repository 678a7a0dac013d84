"""The built product: what a bento holds, and that it serves."""

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


@pytest.fixture(scope="module")
def bento_server(bento: BuiltBento, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the bento, started elsewhere than in the checkout, when the store has a newer model already."""
    environment = os.environ | {"BENTOML_HOME": str(bento.home)}
    subprocess.run([sys.executable, "save_model.py"], cwd=ROOT, env=environment, check=True, capture_output=True)
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
    assert {"service.py", "src/pipeline.py", "src/stages/decode.py", "src/api/index.html", "src/api/docs.html"} <= held
    assert not {path for path in held if "test" in path or "demo" in path or path == "save_model.py"}
    assert {Path(path).suffix for path in held} == {".py", ".html", ".yaml"}
    described = yaml.safe_load((bento.folder / "bento.yaml").read_text())
    assert [model["tag"] for model in described["services"][0]["models"]] == [bento.model]


def test_a_bento_names_every_package_that_its_code_imports(bento: BuiltBento) -> None:
    """Each import of the packed code comes with Python, with the code, or from the pinned and hashed list."""
    pinned = set(re.findall(r"^([\w.-]+)==", (bento.folder / "env/python/requirements.txt").read_text(), re.MULTILINE))
    trees = [ast.parse(file.read_text()) for file in bento.sources]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"src"}
    distributions = packages_distributions()
    for package in packages - {"pillow_heif"}:  # optional: HEIC is decoded where it is installed
        assert {re.sub(r"[._]", "-", name).lower() for name in distributions[package]} & pinned, package


def test_a_bento_serves_the_model_that_was_packed(bento: BuiltBento, bento_server: Server) -> None:
    """A newer version in the store does not change what an older bento answers with."""
    versions = [path for path in (bento.home / "models" / "image_recognition").iterdir() if path.is_dir()]
    assert len(versions) == 2
    assert httpx.get(f"{bento_server.url}/model").json()["model"] == bento.model


def test_a_bento_answers_as_the_checkout_does(bento_server: Server, server: Server) -> None:
    """The same photo gets the same answer from the bento and from the checkout."""
    answers = [
        httpx.post(f"{one.url}/image_recognition_file", files={"img": photo.read_bytes()}).json()
        for photo in PACKAGED_PHOTOS
        for one in (bento_server, server)
    ]
    assert answers[::2] == answers[1::2]
    assert all(answer["success"] for answer in answers)

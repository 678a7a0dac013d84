"""The rules of the design about who may import what."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT

HANDED_ON = "src.stages.picture"
FOLDER = ROOT / "src" / "stages"
STAGES = sorted(path for path in FOLDER.glob("[!_]*") if path.stem != "picture")
PRODUCT = sorted([*(ROOT / "src").rglob("*.py"), ROOT / "service.py", ROOT / "save_model.py"])
MODEL_TYPES = {"src.model.manifest"}
USES_BENTOML = {"service.py", "save_model.py", "src/model/bundle.py"}
USES_LIGHTNING = {"src/model/classifier.py", "src/model/checkpoint.py", "src/train.py"}
WEB = {"starlette", "bentoml", "httpx", "uvicorn", "fastapi"}


def imported(file: Path) -> Iterator[str]:
    """Name every module that ``file`` imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module or ""


def users_of(package: str) -> set[str]:
    """Name the files of the product that import ``package``."""
    return {
        file.relative_to(ROOT).as_posix()
        for file in PRODUCT
        if package in {name.partition(".")[0] for name in imported(file)}
    }


def test_there_are_stages() -> None:
    """The design's five stages exist under their names."""
    assert {file.stem for file in STAGES} == {"decode", "transform", "predict", "gradcam", "render"}


@pytest.mark.parametrize("stage", STAGES, ids=lambda path: path.stem)
def test_a_stage_knows_no_other_room(stage: Path) -> None:
    """A stage imports no other stage, nothing of the web, and of the model only its types."""
    files = [stage] if stage.is_file() else sorted(stage.rglob("*.py"))
    names = {name for file in files for name in imported(file)}
    own = f"src.stages.{stage.stem}"
    assert {name for name in names if name.startswith("src.stages") and not name.startswith(own)} <= {HANDED_ON}
    assert not {name for name in names if name.startswith("src.api")}
    assert {name for name in names if name.startswith("src.model")} <= MODEL_TYPES
    assert not {name.partition(".")[0] for name in names} & WEB


def test_only_the_pipeline_joins_the_stages() -> None:
    """No module but the pipeline imports more than one stage."""
    for file in PRODUCT:
        used = {name.split(".")[2] for name in imported(file) if name.startswith("src.stages.")} - {"picture"}
        assert len(used) <= 1 or file.name == "pipeline.py", f"{file} joins {used}"


def test_bentoml_is_known_in_three_places() -> None:
    """Only the service, the command that stores models and the bundle import BentoML."""
    assert users_of("bentoml") == USES_BENTOML


def test_serving_needs_no_lightning() -> None:
    """Only training and reading checkpoints may import Lightning."""
    assert users_of("pytorch_lightning") | users_of("lightning") <= USES_LIGHTNING

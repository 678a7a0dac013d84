"""The rules of the design about who may import what."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.places import ROOT

PRODUCT = sorted([*(ROOT / "src").rglob("*.py"), ROOT / "service.py", ROOT / "save_model.py"])
# Each room, and what it may import of the others and of the modules beside them. A room imports itself.
ROOMS = {
    "stages": {"errors", "options"},
    "store": {"errors", "stages"},
    "runtimes": {"cores", "errors", "priority", "stages", "store"},
    "api": {"errors", "options", "pipeline", "priority", "progress", "runtimes", "settings", "stages", "store"},
    "archive": {"cores", "errors", "options", "pipeline", "runtimes", "settings", "stages", "store"},
    "calibration": {"stages"},
    "checkpoints": {"errors", "labeled_folder", "stages"},
    "conversion": {"checkpoints", "cores", "errors", "runtimes", "stages", "store"},
    "evaluation": {"calibration", "errors", "labeled_folder", "options", "pipeline", "runtimes", "stages", "store"},
    "saving": {"calibration", "checkpoints", "conversion", "errors", "evaluation", "runtimes", "stages", "store"},
    "training": {"calibration", "checkpoints", "conversion", "cores", "errors", "labeled_folder", "stages"},
}
NOT_IN_A_BENTO = {
    "archive",
    "bulk",
    "calibration",
    "checkpoints",
    "conversion",
    "demo",
    "evaluation",
    "labeled_folder",
    "saving",
    "train",
    "training",
}
# What the stages hand on, which all of them may import, and the one way in which they resize.
HANDED_ON = {
    f"src.stages.{name}"
    for name in ("decoded_image", "features", "input_spec", "learned", "output_spec", "raster", "resize")
}
MAX_FILES = 13


def imported(file: Path) -> Iterator[str]:
    """Name every module that ``file`` imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            inside = [f"{module}.{alias.name}" for alias in node.names]
            yield from [name for name in inside if name in MODULES] or [module]


def _name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name(file): file for file in PRODUCT}
IMPORTS: Mapping[str, set[str]] = {name: set(imported(file)) for name, file in MODULES.items()}


def users_of(package: str) -> set[str]:
    """Name the modules of the product that import ``package``."""
    return {name for name, used in IMPORTS.items() if package in {one.partition(".")[0] for one in used}}


def rooms(names: set[str]) -> set[str]:
    """Return the rooms of ``src``, or the modules beside them, that ``names`` are in."""
    return {name.split(".")[1] for name in names if name.startswith("src.")}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_is_below_it(room: str) -> None:
    """No import of a room, lazy or not, goes to a room that the design does not put below it."""
    for name in (name for name in MODULES if name.startswith(f"src.{room}.")):
        assert rooms(IMPORTS[name]) <= ROOMS[room] | {room}, name


def test_every_folder_is_a_room() -> None:
    """Every folder of src has a rule above, a duty in its __init__, and no more than about a dozen files."""
    folders = {file.parent for file in PRODUCT if file.parent not in {ROOT, ROOT / "src"}}
    assert {folder.relative_to(ROOT / "src").parts[0] for folder in folders} == set(ROOMS)
    for folder in folders:
        assert len(list(folder.glob("*.py"))) <= MAX_FILES, folder
        duty = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert duty, folder


def test_no_import_goes_round_in_a_circle() -> None:
    """No module imports itself by way of others, lazy imports included."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for used in IMPORTS[name] & MODULES.keys():
                visit(used, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def test_a_stage_imports_no_other_stage() -> None:
    """A stage imports of its room only what the stages hand on."""
    stages = {name for name in MODULES if name.startswith("src.stages.")} - HANDED_ON
    assert {name.split(".")[2] for name in stages} == {
        "decode",
        "transform",
        "predict",
        "confidence",
        "gradcam",
        "render",
    }
    for name in stages:
        own = ".".join(name.split(".")[:3])
        others = {used for used in IMPORTS[name] if used.startswith("src.stages.") and not used.startswith(own)}
        assert others <= HANDED_ON, name


def test_only_the_pipeline_joins_the_stages() -> None:
    """No other module imports more than one stage."""
    for name, used in IMPORTS.items():
        stages = {one.split(".")[2] for one in used - HANDED_ON if one.startswith("src.stages.")}
        assert len(stages) <= 1 or name == "src.pipeline", f"{name} joins {stages}"


def test_what_a_bento_holds_imports_nothing_that_it_does_not_hold() -> None:
    """No module that is shipped imports one that .bentoignore names."""
    ignored = (ROOT / ".bentoignore").read_text(encoding="utf-8").splitlines()[1:]
    assert {line.removeprefix("/src/").removesuffix("/*").removesuffix(".py") for line in ignored} == NOT_IN_A_BENTO
    for name in MODULES.keys() - {"save_model"}:
        if not rooms({name}) & NOT_IN_A_BENTO:
            assert not rooms(IMPORTS[name]) & NOT_IN_A_BENTO, name


def _drawn() -> set[tuple[str, str]]:
    page = (ROOT / "docs" / "development" / "architecture.md").read_text(encoding="utf-8")
    return set(re.findall(r"^  (\w+) --> (\w+)$", page, re.MULTILINE))


def _layers() -> dict[str, set[str]]:
    """Return what each room, the pipeline and each command imports of the rooms and the pipeline."""
    below = {*ROOMS, "pipeline"}
    layers: dict[str, set[str]] = {}
    for name, used in IMPORTS.items():
        room = name.split(".")[1] if name.startswith("src.") else name
        layers.setdefault(room, set()).update(rooms(used) & below - {room})
    imported_by_others = {name for used in IMPORTS.values() for name in rooms(used)}
    return {room: used for room, used in layers.items() if used and (room in below or room not in imported_by_others)}


def test_the_drawing_shows_the_imports() -> None:
    """The arrows of the page are the imports between rooms, but for those that follow from two others."""
    layers = _layers()

    def reached(room: str) -> set[str]:
        return layers.get(room, set()).union(*(reached(used) for used in layers.get(room, set())))

    direct = {room: used - set().union(*(reached(one) for one in used)) for room, used in layers.items()}
    assert _drawn() == {(room, one) for room, used in direct.items() for one in used}


def test_bentoml_is_known_in_three_places() -> None:
    """Only the service, the command that stores models and the bundle import BentoML."""
    assert users_of("bentoml") == {"service", "save_model", "src.store.bundle"}


def test_torch_is_known_where_models_are_made_and_in_one_runtime() -> None:
    """What serves on a CPU imports no torch."""
    users = users_of("torch") | users_of("timm") | users_of("torchvision")
    assert rooms({name for name in users if name != "src.runtimes.torch"}) <= NOT_IN_A_BENTO
    assert "src.runtimes.torch" in users


def test_the_web_is_known_in_one_room() -> None:
    """Only src/api imports Starlette and uvicorn; the service names their types."""
    users = users_of("starlette") | users_of("uvicorn")
    assert {name for name in users if not name.startswith("src.api.")} == {"service"}


def test_lightning_is_known_in_training() -> None:
    """Only training imports Lightning."""
    assert users_of("pytorch_lightning") | users_of("lightning") == {"src.train", "src.training.classifier"}

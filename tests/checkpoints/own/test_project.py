"""The imports of the user's own code."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import src.errors
from src.checkpoints.own.module import Arguments, instantiate
from src.errors import ModelError

NET = "from torch import nn\n\n\nclass Small(nn.Linear):\n    def __init__(self):\n        super().__init__(4, 2)\n"


def written(folder: Path, files: dict[str, str]) -> Path:
    """Write ``files`` into ``folder`` and return the first."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder / next(iter(files))


@pytest.mark.parametrize(
    "files",
    [
        {
            "src/models/lit.py": "from src.models.net import Small\nfrom .net import Small as Lit\n",
            "src/__init__.py": "",
            "src/models/__init__.py": "",
            "src/models/net.py": NET,
        },
        {"lit.py": "from src.models.net import Small as Lit\n", "src/models/net.py": NET},
        {"scripts/lit.py": "from theirs.net import Small as Lit\n", "src/theirs/net.py": NET},
        {"lit.py": "from net import Small as Lit\n", "net.py": NET},
    ],
)
def test_the_project_of_a_file_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    """Packages, relative imports and the src layout work beside our own src; nothing is written or left behind."""
    file, path, modules = written(tmp_path, files), sys.path[:], dict(sys.modules)
    assert instantiate(file, "Lit", Arguments({})).state_dict().keys() == {"weight", "bias"}
    assert {one.suffix for one in tmp_path.rglob("*") if one.is_file()} == {".py"}
    assert sys.path == path
    assert sys.modules["src.errors"] is src.errors
    assert not {"lit", "net", "theirs", "src.models", "src.models.net"} & (sys.modules.keys() - modules.keys())


def test_the_folder_above_may_be_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in somebody else's home can be read although the home cannot be listed."""
    listed = Path.iterdir

    def list_others(folder: Path) -> Iterator[Path]:
        if folder == tmp_path:
            raise PermissionError(13, "Permission denied", str(folder))
        return iter(list(listed(folder)))

    monkeypatch.setattr(Path, "iterdir", list_others)
    file = written(tmp_path, {"public/lit.py": "from net import Small as Lit\n", "public/net.py": NET})
    assert instantiate(file, "Lit", Arguments({})).state_dict().keys() == {"weight", "bias"}


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    """An import that is neither in the project nor installed is an error that says what to do."""
    file = written(tmp_path, {"lit.py": "import nowhere_at_all\n"})
    with pytest.raises(ModelError, match=r"nowhere_at_all was not found in the project of this file.*PYTHONPATH"):
        instantiate(file, "Lit", Arguments({}))


def test_our_modules_are_hidden_from_the_project(tmp_path: Path) -> None:
    """A project that lacks a module does not get ours of the same name."""
    file = written(tmp_path / "project", {"lit.py": "from src.errors import ModelError\n"})
    with pytest.raises(ModelError, match="No module named 'src'"):
        instantiate(file, "Lit", Arguments({}))

"""Fixtures that many tests share: a stored model, a real server of it, random numbers."""

import gc
import os
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from filelock import FileLock

import save_model
from tests.serving import Server, running_server

# The longest files come first: at the end one of two processes would wait for the other.
_LONG = (
    "test_sweep",
    "test_runtimes",
    "test_gradcam",
    "test_bento",
    "test_soak",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let both processes be busy until the end."""
    items.sort(key=lambda item: item.path.stem not in _LONG)


def pytest_sessionfinish() -> None:
    """Let all objects end like everywhere else."""
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def _freeze() -> None:
    """Spare the garbage collector what is imported by now: half a million objects, in every pass while saving."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes which run the tests have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def stored_model(shared: Path) -> str:
    """Name of the default network in the tests' own model store; one of the processes makes it for all of them."""
    name = "image_recognition"
    mine = Path(os.environ["BENTOML_HOME"]) / "models" / name
    with FileLock(shared / "lock"):
        if (shared / name).exists():
            shutil.copytree(shared / name, mine)
        else:
            with redirect_stdout(StringIO()) as said:
                assert save_model.main([]) == 0
            (shared / "report.txt").write_text(said.getvalue(), encoding="utf-8")
            shutil.copytree(mine, shared / name)
    return name


@pytest.fixture(scope="session")
def report(shared: Path, stored_model: str) -> str:  # noqa: ARG001 - it is stored by then
    """What the command said when it stored the default network."""
    return (shared / "report.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def server(stored_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server of the default network with default settings."""
    with running_server(tmp_path_factory.mktemp(stored_model)) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """An HTTP client of the real server."""
    with httpx.Client(base_url=server.url, timeout=60) as connected:
        yield connected


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run."""
    return np.random.default_rng(0)

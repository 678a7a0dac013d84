"""The page, used as people do in a real browser; what it looks like is written to a folder of screenshots."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from src.settings import Settings
from tests.clients.applications import CHECK, CODES, KEY, application, binary, failing, learned, multilabel, served
from tests.clients.test_generated import HERE, PHOTO, run
from tests.places import ROOT
from tests.serving import Server
from tests.test_confidence import noise

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]
CHROMIUM = shutil.which("chromium")
SHOTS = (
    *(
        "answer",
        "binary",
        "card-dark",
        "card-light",
        "card-phone",
        "compare",
        "dark",
        "empty",
        "error-dark",
        "error-light",
    ),
    *("error-phone", "gallery", "gallery-dark", "gallery-light", "gallery-phone", "key", "multilabel"),
    *("phone", "phone-compare"),
)
Told = dict[str, str | None]
Play = Callable[..., Told]


def names(script: str) -> list[str]:
    """Return what ``script`` does, by name."""
    return re.findall(r'^  async "(.+)"\(\)', (HERE / script).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def play(node_folder: Path) -> Play:
    """Return what runs a script of the browser, and returns what went wrong with each thing that it does."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    shots = ROOT / "screenshots"
    shots.mkdir(exist_ok=True)
    shutil.copy(HERE / "browser.mjs", node_folder)
    return partial(_play, node_folder, CHROMIUM, str(shots))


def _play(folder: Path, chromium: str, shots: str, script: str, *given: str) -> Told:
    shutil.copy(HERE / script, folder)
    return dict(map(json.loads, run("node", script, chromium, shots, *given, cwd=folder).splitlines()))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A damaged image."""
    file = tmp_path_factory.mktemp("broken") / "broken.jpg"
    file.write_bytes(Path(PHOTO).read_bytes()[:3000])
    return str(file)


@pytest.fixture(scope="module")
def used(server: Server, play: Play, broken: str) -> Told:
    """What went wrong with the default network."""
    return play("page.mjs", f"{server.url}/", PHOTO, broken, sys.executable)


@pytest.fixture(scope="module")
def kinds(play: Play, broken: str, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What went wrong with models of other kinds."""
    folder = tmp_path_factory.mktemp("learned")
    familiar = folder / "familiar.png"
    familiar.write_bytes(noise(np.random.default_rng(0)))
    with ExitStack() as stack:
        drafts = [stack.enter_context(make(tmp_path_factory.mktemp("kind"))) for make in (binary, multilabel)]
        apps = [application(drafted, Settings()) for drafted in drafts]
        urls = [stack.enter_context(served(app)) for app in (*apps, application(learned(folder), Settings(), CHECK))]
        return play("kinds.mjs", *urls, PHOTO, broken, str(familiar))


@pytest.fixture(scope="module")
def failures(play: Play, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What went wrong where there was to be no answer."""
    locked = application(learned(tmp_path_factory.mktemp("locked")), Settings(api_key=SecretStr(KEY)))
    with served(failing()) as url, served(locked) as keyed:
        return play("failures.mjs", url, keyed, KEY, PHOTO, *CODES)


@pytest.mark.parametrize("name", names("page.mjs"))
def test_the_page(used: Told, name: str) -> None:
    """Each thing that people do on the page works, and the browser complains of nothing."""
    assert used[name] is None


@pytest.mark.parametrize("name", names("kinds.mjs"))
def test_the_page_of_other_models(kinds: Told, name: str) -> None:
    """Each kind of model is drawn as what it is."""
    assert kinds[name] is None


@pytest.mark.parametrize("name", names("failures.mjs"))
def test_the_page_without_an_answer(failures: Told, name: str) -> None:
    """Whatever goes wrong is told in words, with what to do."""
    assert failures[name] is None


def test_its_screenshots_are_there(used: Told, kinds: Told, failures: Told) -> None:
    """The page is shown in every state."""
    assert used
    assert kinds
    assert failures
    assert sorted(file.stem for file in (ROOT / "screenshots").glob("*.png")) == list(SHOTS)

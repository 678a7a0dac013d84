"""The page, used as people do in a real browser; what it looks like is written to a folder of screenshots."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.clients.test_generated import HERE, PHOTO, run
from tests.places import ROOT
from tests.serving import Server

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]
CHROMIUM = shutil.which("chromium")
SHOTS = ("answer", "compare", "dark", "empty", "gallery", "phone")
NAMES = re.findall(r'^  async "(.+)"\(\)', (HERE / "page.mjs").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def used(server: Server, node_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """What went wrong with each thing that people do; the screenshots are in screenshots/."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    shutil.copy(HERE / "page.mjs", node_folder)
    broken = tmp_path_factory.mktemp("broken") / "broken.jpg"
    broken.write_bytes(Path(PHOTO).read_bytes()[:3000])
    (ROOT / "screenshots").mkdir(exist_ok=True)
    given = (f"{server.url}/", CHROMIUM, PHOTO, str(broken), str(ROOT / "screenshots"))
    told = run("node", "page.mjs", *given, cwd=node_folder)
    return dict(map(json.loads, told.splitlines()))


@pytest.mark.parametrize("name", NAMES)
def test_the_page(used: dict[str, str | None], name: str) -> None:
    """Each thing that people do on the page works, and the browser complains of nothing."""
    assert used[name] is None


def test_its_screenshots_are_there(used: dict[str, str | None]) -> None:
    """The page is shown empty, with an answer, comparing, with several photos, on a phone and in the dark."""
    assert used
    assert sorted(file.stem for file in (ROOT / "screenshots").glob("*.png")) == list(SHOTS)

"""The service below a path that a proxy has added, which it does not know of."""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from tests.clients.test_generated import HERE, PHOTO, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]
CHROMIUM = shutil.which("chromium")


def test_swagger_calls_every_route_below_the_prefix(behind_prefix: str, node_folder: Path) -> None:
    """What "Try it out" sends without a change, or with a file, is answered 200, in a real browser."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    shutil.copy(HERE / "swagger.mjs", node_folder)
    shown = run("node", "swagger.mjs", f"{behind_prefix}/docs", CHROMIUM, PHOTO, cwd=node_folder)
    routes = ("image_recognition", "image_recognition_file", "image_recognition_batch")
    assert shown.splitlines() == [f"/models/cats/{route} 200 true" for route in routes]


@pytest.mark.parametrize(("path", "shown"), [("/", "%"), ("/docs", "Recognize one image.")])
def test_a_page_is_whole_below_the_prefix(behind_prefix: str, tmp_path: Path, path: str, shown: str) -> None:
    """A real browser finds all that a page loads."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    options = ["--headless", "--no-sandbox", f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000", "--dump-dom"]
    command = [CHROMIUM, *options, behind_prefix + path]
    assert shown in subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout


@pytest.mark.parametrize("path", ["/nothing", "/docs/nothing", "/image_recognition"])
def test_the_link_in_an_error_leads_to_the_page(behind_prefix: str, path: str) -> None:
    """The address that an error names, relative to the one that was asked for, is the documentation's."""
    for answer in (httpx.get(behind_prefix + path), httpx.post(behind_prefix + "/image_recognition", json={})):
        link = answer.json()["error"]["message"].lower().split("see ")[1].split()[0].rstrip(".")
        assert httpx.get(urljoin(str(answer.url), link)).text.startswith("<!doctype html>")

"""The pages and what browsers are told about them."""

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from src.api.pages import page_routes
from src.api.telemetry.metrics import Metrics
from tests.places import ROOT

CHROMIUM = shutil.which("chromium")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_loads_nothing_from_other_origins(client: httpx.Client, path: str) -> None:
    """Its policy allows only scripts in the page, nothing from other origins, and no framing."""
    headers = client.get(path).headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_every_script_of_a_page_is_allowed(client: httpx.Client, path: str) -> None:
    """The policy has the hash of each script in the page."""
    page = client.get(path)
    scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert scripts
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("asked", ["bytes=0-9", "bytes=99999999-", "bytes=9-0", "pages=1", "bytes="])
def test_a_file_is_sent_whole_whatever_range_is_asked_for(asked: str) -> None:
    """No range is refused, for which the contract has no error."""
    (route,) = (route for route in page_routes(Metrics(), keyed=False) if route.path == "/samples/cat.jpg")
    answer = TestClient(Starlette(routes=[route])).get("/samples/cat.jpg", headers={"Range": asked})
    assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "none")
    assert answer.content == (ROOT / "src/api/page/samples/cat.jpg").read_bytes()


@pytest.mark.parametrize("path", ["/image_recognition", "/nothing", "/model", "/metrics"])
def test_browsers_do_not_guess_media_types(client: httpx.Client, path: str) -> None:
    """Browsers are told to trust the media type of every answer, including errors."""
    assert client.get(path).headers["x-content-type-options"] == "nosniff"


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize(("path", "shown"), [("/", "What is it?"), ("/docs", "Recognize one image.")])
def test_a_browser_shows_the_page(client: httpx.Client, tmp_path: Path, path: str, shown: str) -> None:
    """A real browser runs the scripts of the page under its policy without errors."""
    url = str(client.base_url).rstrip("/") + path
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000", "--dump-dom", url,
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert shown in run.stdout
    assert "%" in run.stdout or path == "/docs"
    assert "Content Security Policy" not in run.stderr
    assert "Refused to" not in run.stderr

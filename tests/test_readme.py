"""The commands and examples of the README and the documentation work as printed."""

import base64
import json
import re
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from src.api.errors import STATUS
from src.options import Colormap, Method, Options
from tests.places import ROOT
from tests.serving import Server

README = (ROOT / "README.md").read_text(encoding="utf-8")
API = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
LAYOUT = (ROOT / "docs" / "development" / "architecture.md").read_text(encoding="utf-8")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
CATS = {"tiger cat", "Egyptian cat"}  # the network is as sure of the one as of the other
PRINTED_URL = "http://localhost:8000"


def block(language: str, page: str = README) -> str:
    """Return the one code block in ``language`` on a page."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return str(code)


def test_the_two_commands_come_first() -> None:
    """Within the first 30 lines stand the image and the commands that set everything up and try it."""
    top = "\n".join(README.splitlines()[:30])
    assert "make serve" in top
    assert "make demo" in top
    assert "docs/heatmap.jpg" in top


def test_the_readme_is_short() -> None:
    """The README has at most 120 lines."""
    assert len(README.splitlines()) <= 120


def test_the_lines_of_a_page_are_short() -> None:
    """Lines of Markdown, except tables, end before 140 characters; the report is written by the benchmark."""
    for page in PAGES:
        lines = page.read_text(encoding="utf-8").splitlines() if page.name != "report.md" else []
        assert [line for line in lines if len(line) >= 140 and not line.lstrip().startswith("|")] == [], page


def test_every_link_leads_somewhere() -> None:
    """Each relative link of the README and the documentation leads to a file that exists."""
    link_to_file = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
    links = [(page, link) for page in PAGES for link in link_to_file.findall(page.read_text("utf-8"))]
    assert len(links) > 30
    for page, link in links:
        assert (page.parent / link).exists(), f"{page}: {link}"


def test_every_page_with_commands_is_listed_with_the_targets_that_run_them() -> None:
    """The style page names each page that has commands, and only make targets that exist."""
    style = ROOT / "docs" / "development" / "style.md"
    listed = re.findall(r"^  \| \[.*?\]\((.*?)\) \| (.*) \|$", style.read_text("utf-8"), re.MULTILINE)
    with_commands = re.compile(r"^```(sh|bash|python|py)?\n|^    curl ", re.MULTILINE)
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert {(style.parent / page).resolve() for page, _ in listed} == {
        page for page in pages if with_commands.search(page.read_text("utf-8")) and page.name != "architecture.md"
    }
    targets = {target for _, named in listed for target in re.findall(r"`make ([a-z-]+)`", named)}
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_the_curl_line_works(server: Server) -> None:
    """The curl line, word for word but for the port, is answered with the class of the cat."""
    line = block("bash").replace(PRINTED_URL, server.url)
    shown = subprocess.run(["/bin/sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(shown)["result"] in CATS


@pytest.mark.parametrize("page", [README, API], ids=["README", "API"])
def test_the_python_lines_work(server: Server, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    """The lines for BentoML's client, word for word but for the port, are answered."""
    monkeypatch.chdir(ROOT)
    variables: dict[str, Any] = {}
    exec(block("python", page).replace(PRINTED_URL, server.url), variables)  # noqa: S102 - our own pages
    variables["client"].close()
    answers = [value for name, value in variables.items() if name.startswith("answer")]
    assert answers
    assert all(answer["result"] in CATS for answer in answers)


def test_the_image_is_made_by_the_service(server: Server) -> None:
    """The image in the README is what the service answers for the photo beside it, and small."""
    shown = ROOT / "docs" / "heatmap.jpg"
    assert shown.stat().st_size < 200_000
    files = {"img": (ROOT / "docs" / "cat.jpg").read_bytes()}
    answer = httpx.post(f"{server.url}/image_recognition_file", files=files, data={"format": "png"}).json()
    drawn = np.asarray(Image.open(BytesIO(base64.b64decode(answer["gradcam"]))), dtype=int)
    assert np.abs(drawn - np.asarray(Image.open(shown), dtype=int)).mean() < 3


def test_the_tables_name_every_option_and_error() -> None:
    """Each request field, color map, method and error code stands in the reference of the API."""
    for name in (*Options.model_fields, "img", "imgs", *Colormap, *Method, *(kind.code for kind in STATUS)):
        assert f"`{name}`" in API, name


def _layout() -> dict[str, set[str]]:
    """Return the words of the layout by the folder or file at the head of their entry; an entry may have more lines."""
    lines = re.findall(r"^    \S.*(?:\n {6,}\S.*)*", LAYOUT, re.MULTILINE)
    entries = [entry.split() for entry in lines]
    return {head: {word.strip(":;,.") for word in words} for head, *words in entries}


def test_the_layout_names_every_module_with_its_folder() -> None:
    """Each folder of the package has an entry, and in it every module of that folder and no file that is not there."""
    layout = _layout()
    folders = {file.parent for file in (ROOT / "src").rglob("*.py")} - {ROOT / "src"}
    for folder in folders:
        modules = {file.stem for file in folder.glob("[!_]*.py")}
        entry = layout[f"{folder.relative_to(ROOT).as_posix()}/"]
        assert modules <= entry, f"{folder}: {modules - entry}"
    for head in layout:
        assert (ROOT / head).exists(), head
    beside = {word for head, words in layout.items() if head.endswith(".py") for word in (Path(head).name, *words)}
    assert {file.name for file in (ROOT / "src").glob("[!_]*.py")} <= beside

"""Clients that are generated from the OpenAPI document compile, send and read."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.places import ROOT
from tests.serving import Server

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]

HERE: Final = Path(__file__).parent
PHOTO: Final = str(ROOT / "docs" / "cat.jpg")
ANSWERS: Final = ["tiger cat", "invalid_base64", "tabby", "tiger cat invalid_base64", "timm/tf_efficientnet_lite0"]
UV: Final = str(Path(sys.executable).parent / "uv")


def run(*command: str, cwd: Path) -> str:
    """Return what ``command`` prints."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_python_client_is_generated_sends_and_reads(server: Server, tmp_path: Path) -> None:
    """openapi-python-client warns of nothing, and its client reads answers, errors and both kinds in a batch."""
    tools = [UV, "run", "--no-project", "--with", "openapi-python-client>=0.26", "--with", "ruff"]
    if subprocess.run([*tools, "true"], cwd=tmp_path, capture_output=True, check=False).returncode != 0:
        pytest.skip("openapi-python-client cannot be installed")
    generate = ["openapi-python-client", "generate", "--url", f"{server.url}/docs.json", "--fail-on-warning"]
    run(*tools, *generate, "--meta", "none", "--output-path", "generated", cwd=tmp_path)
    shutil.copy(HERE / "generated.py", tmp_path / "send.py")
    assert run(*tools, "python", "send.py", server.url, PHOTO, cwd=tmp_path).splitlines() == ANSWERS


def test_a_typescript_client_is_generated_compiles_sends_and_reads(server: Server, node_folder: Path) -> None:
    """The types of openapi-typescript let no field be forgotten that is needed, nor need one that is not."""
    shutil.copy(HERE / "generated.mts", node_folder)
    run("npx", "openapi-typescript", f"{server.url}/docs.json", "-o", "api.d.ts", cwd=node_folder)
    options = ["--strict", "--module", "nodenext", "--target", "es2022", "--types", "node"]
    run("npx", "tsc", *options, "--rewriteRelativeImportExtensions", "generated.mts", cwd=node_folder)
    assert run("node", "generated.mjs", server.url, PHOTO, cwd=node_folder).splitlines() == ANSWERS

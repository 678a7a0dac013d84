"""The service against its own OpenAPI document, asked by schemathesis what people would not think of."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.serving import Server

SCHEMATHESIS: Final = str(Path(sys.executable).parent / "schemathesis")
# The document cannot say which text is an image: most that is right by it is refused with 400 or 415.
CANNOT_BE_SAID: Final = "positive_data_acceptance"
# In a form all is text: 0, off and false are the same there.
FORMS_ARE_TEXT: Final = """
[[operations]]
include-path = "/image_recognition_file"
checks.negative_data_rejection.enabled = false
"""


@pytest.mark.parametrize("examples", [20, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_the_service_conforms_to_its_document(server: Server, tmp_path: Path, examples: int) -> None:
    """No request that schemathesis generates gets a 5xx, or a status, type or body that is not in the document."""
    (tmp_path / "schemathesis.toml").write_text(FORMS_ARE_TEXT, encoding="utf-8")
    command = [SCHEMATHESIS, "run", f"{server.url}/docs.json", "--seed", "1", "--max-examples", str(examples)]
    command += ["--exclude-checks", CANNOT_BE_SAID, "--generation-database", "none", "--no-color"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[:8000]
    assert "Tested: 8" in run.stdout

"""Print the options of 'bentoml containerize' that name the Docker image and label it with its origin.

usage: bentoml get TAG --output json | python deploy/image.py NAME
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).parent.parent


def main() -> None:
    """Print the options on one line, for use in the command line."""
    bento: Mapping[str, Any] = json.load(sys.stdin)
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    options = [f"--image-tag {sys.argv[1]}:{tag}" for tag in _tags(bento, project["version"])]
    options += [f"--opt label={name}={value}" for name, value in _labels(bento, project).items()]
    print(" ".join(options))


def _tags(bento: Mapping[str, Any], version: str) -> tuple[str, str]:
    if "\ntorch==" in bento["image"]["python_requirements"]:
        return f"{version}-torch", "torch"
    return version, "latest"


def _labels(bento: Mapping[str, Any], project: Mapping[str, Any]) -> dict[str, str]:
    (model,) = bento["services"][0]["models"]
    return {
        "org.opencontainers.image.title": project["name"],
        "org.opencontainers.image.version": project["version"],
        "org.opencontainers.image.revision": _revision(),
        "org.opencontainers.image.created": bento["creation_time"].replace(" ", "T"),
        "org.opencontainers.image.licenses": project["license"],
        "image-recognition.model": model["tag"],
        "image-recognition.bento": f"{bento['name']}:{bento['version']}",
    }


def _revision() -> str:
    """Return the checked-out commit, with "-dirty" if files differ from it, or "unknown" outside a checkout."""
    describe = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    said = subprocess.run(describe, cwd=_ROOT, check=False, capture_output=True, text=True)  # noqa: S603 - fixed words
    return said.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()

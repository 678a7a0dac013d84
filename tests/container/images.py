"""Images that 'make container' makes."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.container.engine import Engine
from tests.places import ROOT

__all__ = ["Image", "made"]


@dataclass(frozen=True)
class Image:
    """An image of the name that it was given, in an engine."""

    engine: Engine
    name: str

    def run(self, *command: str) -> str:
        """Return what a command prints in a new container of the image."""
        program, *arguments = command
        return self.engine.docker("run", "--rm", "--entrypoint", program, self.name, *arguments)

    def inspect(self, template: str) -> Any:
        """Return what ``docker inspect`` knows, as JSON."""
        return json.loads(self.engine.docker("inspect", "--format", f"{{{{json {template}}}}}", self.name))

    def packages(self) -> set[str]:
        """Return the Python packages of the environment that serves, as name==version."""
        listing = (
            "from importlib.metadata import distributions as all\nfor one in all(): print(f'{one.name}=={one.version}')"
        )
        return {line.lower().replace("_", "-") for line in self.run("python", "-c", listing).splitlines()}


@contextmanager
def made(engine: Engine, name: str, *arguments: str, tag: str = "latest") -> Iterator[Image]:
    """Run ``make container`` for an image called ``name``; remove it at the end."""
    make = ["make", "container", f"IMAGE={name}", *arguments]
    done = subprocess.run(make, cwd=ROOT, env=engine.environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    try:
        yield Image(engine, f"{name}:{tag}")
    finally:
        engine.docker(
            "image", "rm", *engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name).split()
        )

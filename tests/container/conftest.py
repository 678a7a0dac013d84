"""Fixtures of the image's tests: an engine, the image, a hardened container of it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.engine import SKIP, Engine
from tests.container.engine import engine as provided
from tests.container.images import Image, made
from tests.container.running import Container, container


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A Docker engine with the base image; the terminal says which."""
    if os.environ.get(SKIP):
        pytest.skip(f"{SKIP} is set")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{line}")  # noqa: T201 - it is for the terminal

    folder = Path(tempfile.mkdtemp(prefix="image-recognition-engine-"))
    try:
        with provided(folder, say) as found:
            yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def image(engine: Engine, stored_model: str) -> Iterator[Image]:
    """The image of the default network, built by the command that people use."""
    with made(engine, f"{stored_model}_test".replace("_", "-")) as built:
        yield built


@pytest.fixture(scope="module")
def hardened(image: Image) -> Iterator[Container]:
    """A hardened container of the image, taking requests."""
    with container(image) as running:
        yield running

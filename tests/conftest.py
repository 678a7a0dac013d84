"""What many tests share: a stored model, a real server of it, random numbers."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

import save_model
from tests.serving import Server, running_server


@pytest.fixture(scope="session")
def stored_model() -> str:
    """Name of the default network in the tests' own model store."""
    assert save_model.main(["--if-missing"]) == 0
    return "image_recognition"


@pytest.fixture(scope="session")
def server(stored_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server of the default network with default settings."""
    with running_server(tmp_path_factory.mktemp(stored_model)) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """An HTTP client of the real server."""
    with httpx.Client(base_url=server.url, timeout=60) as connected:
        yield connected


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run."""
    return np.random.default_rng(0)

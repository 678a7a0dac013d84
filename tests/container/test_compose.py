"""deploy/compose.yaml, run by Docker Compose."""

import subprocess
import time

import httpx
import pytest

from tests.container.images import Image
from tests.container.running import Container
from tests.places import ROOT
from tests.serving import free_port

pytestmark = pytest.mark.container

COMPOSE = ROOT / "deploy" / "compose.yaml"


def test_the_service_runs_hardened_and_healthy(image: Image) -> None:
    """'docker compose up' gives a healthy service without rights, and 'stop' lets it end."""
    command = image.engine.compose()
    if not command:
        pytest.skip("Docker Compose is not installed")
    port = free_port()
    environment = {**image.engine.environment, "IMAGE": image.name, "PORT": str(port)}

    def compose(*arguments: str) -> str:
        whole = [*command, "--project-name", "image-recognition-test", "--file", str(COMPOSE), *arguments]
        return subprocess.run(whole, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    compose("--profile", "monitoring", "config", "--quiet")
    try:
        compose("up", "--detach")
        running = Container(image.engine, compose("ps", "--quiet"), time.monotonic())
        running.wait_until_ready()
        deadline = time.monotonic() + 40
        while running.inspect(".State.Health.Status") != "healthy" and time.monotonic() < deadline:
            time.sleep(0.5)
        assert running.inspect(".State.Health.Status") == "healthy"
        host = running.inspect(".HostConfig")
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["Memory"] == 4 << 30
        assert host["PidsLimit"] == 128
        photo = {"img": (ROOT / "docs" / "cat.jpg").read_bytes()}
        assert httpx.post(f"http://localhost:{port}/image_recognition_file", files=photo).json()["success"]
        compose("stop")
        assert running.inspect(".State.ExitCode") == 0
    finally:
        compose("down", "--volumes")

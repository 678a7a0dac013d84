"""The image with torch from another index, such as PyTorch's for CPUs; here one with nearly empty wheels."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Final

import httpx
import pytest

from tests.container.engine import Engine
from tests.container.images import Image, made
from tests.container.running import container
from tests.places import ROOT
from tests.wheels import write_wheel

pytestmark = pytest.mark.container

PINNED: Final = dict(
    re.findall(r"^(torch)==([\w.]+)$", (ROOT / "requirements-torch.txt").read_text(encoding="utf-8"), re.MULTILINE)
)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *arguments: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def index(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address, for containers, of an index with builds of torch for CPUs and an old copy of another package."""
    folder = tmp_path_factory.mktemp("index")
    for name, version in PINNED.items():
        write_wheel(folder / "simple", name, f"{version}+cpu")
    write_wheel(folder / "simple", "filelock", "1.0")
    subnet = engine.docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}")
    gateway = str(next(ip_network(subnet).hosts()))  # this machine, as containers see it
    with ThreadingHTTPServer((gateway, 0), partial(Quiet, directory=str(folder))) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://{gateway}:{serving.server_port}/simple"
        serving.shutdown()


@pytest.fixture(scope="module")
def with_torch(engine: Engine, index: str, stored_model: str) -> Iterator[Image]:
    """The image with torch from that index."""
    with made(
        engine, f"{stored_model}_index".replace("_", "-"), "TORCH=1", f"TORCH_INDEX={index}", tag="torch"
    ) as built:
        yield built


def test_torch_comes_from_the_index_alone(with_torch: Image) -> None:
    """One setting gives the builds for CPUs, all else as pinned, and nothing of CUDA."""
    packages = dict(package.split("==") for package in with_torch.packages())
    assert {name: packages[name] for name in PINNED} == {name: f"{version}+cpu" for name, version in PINNED.items()}
    assert packages["filelock"] != "1.0"
    assert not {"timm", "torchvision"} & packages.keys()
    assert not [name for name in packages if name.startswith(("nvidia-cu", "cuda", "triton"))]


def test_the_index_is_not_recorded(with_torch: Image, index: str) -> None:
    """The address, which may hold a password, is neither in the image's history nor in its files."""
    about = with_torch.engine.docker("history", "--no-trunc", with_torch.name)
    assert index not in about + str(with_torch.inspect("."))
    assert not with_torch.run("sh", "-c", f"grep --recursive --files-with-matches {index} /app /home /etc || true")


def test_it_serves(with_torch: Image) -> None:
    """The image with torch answers as the one without: OpenVINO runs what it can."""
    with container(with_torch) as running:
        photo = {"img": (ROOT / "docs" / "cat.jpg").read_bytes()}
        assert httpx.post(f"{running.url}/image_recognition_file", files=photo).json()["success"]
        assert httpx.get(f"{running.url}/model").json()["runtime"] == "openvino"

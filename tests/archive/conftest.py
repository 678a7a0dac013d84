"""Share a Ray cluster, a tiny stored network and images among the archive tests."""

from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from save_model import save_model
from src.stages.input_spec import InputSpec
from tests.files import saved

_MISSING = [name for name in ("ray", "pyarrow", "s3fs", "moto") if find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if _MISSING else []


def pytest_report_header() -> str | None:
    """Report which packages are missing if the tests here are skipped."""
    return f"tests/archive needs {', '.join(_MISSING)}: run 'make test-bulk'" if _MISSING else None


@pytest.fixture(scope="session")
def tiny(shared: Path) -> str:  # noqa: ARG001 - the store must exist
    """Tag of a stored network for 32 x 32 pixels that recognizes red, green and blue."""
    cells, head = nn.Conv2d(3, 3, 8, stride=8), nn.Linear(3, 3)
    with torch.no_grad():
        cells.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 8, 8) / 64)
        head.weight.copy_(8 * torch.eye(3))
    network = nn.Sequential(cells, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    spec = InputSpec(resize=32, crop=(32, 32), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    with redirect_stdout(StringIO()):
        return save_model(network, name="tiny", labels=["red", "green", "blue"], transform=spec)


def image_file(index: int, side: int = 40) -> bytes:
    """Return a JPEG file unique to ``index``: mostly red, green or blue, in turn."""
    rng = np.random.default_rng(index)
    pixels = rng.integers(0, 100, (side, side, 3), np.uint8)
    pixels[..., index % 3] += 130
    return saved(Image.fromarray(pixels), "JPEG")


def write_images(folder: Path, indices: Sequence[int], broken: Sequence[int] = ()) -> None:
    """Write the images ``indices`` to ``folder``, truncating those in ``broken``."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in indices:
        content = image_file(index)
        (folder / f"{index:06d}.jpg").write_bytes(content[: len(content) // 2] if index in broken else content)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two nodes with one CPU each, on this machine."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - an optional package

    head = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.add_node(num_cpus=1, object_store_memory=100_000_000)
    yield made
    made.shutdown()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a mock S3 server with two buckets."""
    import boto3  # noqa: PLC0415 - an optional package
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - the same
    from s3fs import S3FileSystem  # noqa: PLC0415 - the same

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    httpx.post(f"http://{host}:{port}/moto-api/reset")  # all servers of a process share their buckets
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # of another test, whose server is gone
    client = boto3.client("s3")
    for name in ("archive", "answers"):
        client.create_bucket(Bucket=name)
    yield client
    server.stop()

"""The compared services, and how to start them."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from src.cores import usable_cores
from tests.benchmarks.networks import ALEXNET_WEIGHTS, TORCH_THREADS
from tests.benchmarks.processes import ProcessTree
from tests.places import ROOT
from tests.serving import free_port

__all__ = [
    "ALEXNET_MODEL",
    "BARE",
    "BARE_ALEXNET",
    "OURS",
    "OUR_ALEXNET",
    "STORED_MODEL",
    "Running",
    "Service",
    "compared_services",
    "our_service",
    "start",
    "user_environment",
]

OURS: Final = "this service"
BARE: Final = "the libraries alone"
BARE_ALEXNET: Final = "the libraries alone, AlexNet"
OUR_ALEXNET: Final = "this service, AlexNet"
ALEXNET_MODEL: Final = "alexnet"
STORED_MODEL: Final = "BENCHMARK_STORED_MODEL"
"""Environment variable: the folder in the model store of the network that the libraries alone serve."""

_BIN: Final = Path(sys.executable).parent
_CORES: Final = str(usable_cores())
_START_SECONDS: Final = 180
_LOOK_SECONDS: Final = 0.02
# Set by the package tests and by this machine, but not in a user's environment.
_NOT_INHERITED: Final = ("OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True, slots=True)
class Service:
    """How to start a server (``{port}`` stands for its port), and the path that reports when it is ready.

    ``network``: the network it serves; only services with the same network are compared.
    """

    name: str
    command: tuple[str, ...]
    ready: str
    network: str = "EfficientNet-Lite0"
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """A started server; ``startup`` is the time in seconds from the start of its process until it was ready."""

    service: Service
    url: str
    tree: ProcessTree
    startup: float


def our_service(name: str = OURS, model: str = "image_recognition", network: str = "EfficientNet-Lite0") -> Service:
    """Return our service with default settings and the stored ``model``."""
    command = (str(_BIN / "bentoml"), "serve", "service:ImageRecognition", "--host", "127.0.0.1", "--port", "{port}")
    return Service(name, command, "/readyz", network, {"IMAGE_RECOGNITION_MODEL": f"{model}:latest"})


def compared_services(stored: Path, stored_alexnet: Path, alexnet_weights: Path) -> tuple[Service, ...]:
    """Return all compared services, ours first.

    Args:
        stored: The folder of the default network in the model store.
        stored_alexnet: The folder of AlexNet in the model store.
        alexnet_weights: The file of ``write_alexnet``.
    """
    alexnet = {ALEXNET_WEIGHTS: str(alexnet_weights)}
    litserve = (sys.executable, "-m", "tests.benchmarks.litserve_gradcam", "--port", "{port}")
    return (
        our_service(),
        Service(BARE, _bento("bare:Bare"), "/readyz", environment={STORED_MODEL: str(stored)}),
        Service("LitServe + grad-cam", litserve, "/health", environment={TORCH_THREADS: "1"}),
        Service("BentoML, naive", _bento("naive_bento:NaiveBento"), "/readyz", environment={TORCH_THREADS: _CORES}),
        _tutorial("tutorial, tuned", "1"),
        _tutorial("tutorial", _CORES),
        our_service(OUR_ALEXNET, ALEXNET_MODEL, "AlexNet"),
        Service(BARE_ALEXNET, _bento("bare:Bare"), "/readyz", "AlexNet", {STORED_MODEL: str(stored_alexnet)}),
        _tutorial("tutorial, AlexNet, tuned", "1", "AlexNet", alexnet),
        _tutorial("tutorial, AlexNet", _CORES, "AlexNet", alexnet),
    )


def _bento(service: str) -> tuple[str, ...]:
    """Return the command that serves ``service``, a ``module:class`` of this package, with BentoML."""
    serve = (str(_BIN / "bentoml"), "serve", f"tests.benchmarks.{service}")
    return (*serve, "--host", "127.0.0.1", "--port", "{port}")


def _tutorial(
    name: str, threads: str, network: str = "EfficientNet-Lite0", environment: Mapping[str, str] | None = None
) -> Service:
    """Return the tutorial's service, with one uvicorn worker per core.

    By default, every worker uses as many torch threads as cores, and the workers compete; tuned, each has one thread.
    """
    uvicorn = (sys.executable, "-m", "uvicorn", "tests.benchmarks.tutorial:app", "--workers", _CORES)
    command = (*uvicorn, "--log-level", "warning", "--port", "{port}")
    return Service(name, command, "/ready", network, {TORCH_THREADS: threads, **(environment or {})})


def user_environment() -> dict[str, str]:
    """Return the environment that a user's command would have."""
    return {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}


def start(service: Service, logs: Path) -> Running:
    """Start ``service`` as a user would, and wait until it is ready; its log goes to the folder ``logs``.

    Raises:
        RuntimeError: It did not become ready.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = logs / f"{service.name}.log"
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [part.format(port=port) for part in service.command],
            cwd=ROOT,
            env=user_environment() | dict(service.environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    tree = ProcessTree(psutil.Process(process.pid))
    while time.monotonic() - began < _START_SECONDS and process.poll() is None:
        if _answers(port, service.ready):
            return Running(service, url, tree, time.monotonic() - began)
        time.sleep(_LOOK_SECONDS)
    tree.end()
    raise RuntimeError(f"{service.name} did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

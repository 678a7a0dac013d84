"""Applications with tiny models, and one that fails on request, served by this process during a test."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any, Final

import numpy as np
import torch
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from src.api.app import create_app
from src.api.endpoints import Endpoints
from src.api.errors import STATUS, framework_error, respond
from src.api.pages import page_routes
from src.api.schemas.model import ModelResponse
from src.api.telemetry.metrics import Metrics
from src.checkpoints.checkpoint import read_checkpoint
from src.checkpoints.given import Given
from src.checkpoints.network import build
from src.conversion.draft import Draft, draft
from src.conversion.verify import Agreement, Verification
from src.pipeline import Pipeline
from src.runtimes.select import start
from src.saving.learning import take_over
from src.settings import Settings
from src.stages.decode import DecodeLimits
from src.stages.learned import Calibration, Range
from src.store.bundle import Bundle
from src.store.files import checked_manifest
from tests.serving import free_port
from tests.test_confidence import LAYOUT, carried, observations

TINY: Final = "timm/test_resnet"
KEY: Final = "correct-horse-battery-staple"
# Of an image are six of them, one more than are listed, and not the likeliest one, for which nothing speaks.
FINDINGS: Final = ("cat", "dog", "grass", "fog", "sky", "sofa", "tree")
THRESHOLDS: Final = (0.01, 0.01, 0.01, 0.99, 0.01, 0.01, 0.02)
CHECK: Final = {
    "images": 40,
    "accuracy": 0.9,
    "trained_on": 10,
    "recall": {"bus": 0.9, "car": 0.9},
    "confusion": {"classes": ["bus", "car"], "counts": [[18, 2, 0], [1, 19, 0]]},
}


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve ``app`` from a thread, and return its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, ws="none", log_level="warning"))
    thread = Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join()


def application(drafted: Draft, settings: Settings, check: Mapping[str, Any] | None = None) -> ASGIApp:
    """Return the whole application around a model as it lies in its folder."""
    bundle = Bundle("tiny:1", drafted.manifest, drafted.folder, check or {})
    running = start(bundle.folder, bundle.manifest, threads=1, device="cpu")
    endpoints = Endpoints(settings)
    endpoints.serve(
        Pipeline(bundle.manifest, running, DecodeLimits(), bundle.familiarity), ModelResponse.of(bundle, running)
    )
    return create_app(settings, endpoints, Starlette())


@contextmanager
def binary(folder: Path) -> Iterator[Draft]:
    """A network of one output for images of one channel."""
    given = Given(labels="healthy,ill", input={"resize": 40, "crop": (32, 32)})
    with _drafted(folder, 1, 1, given) as drafted:
        yield drafted


@contextmanager
def multilabel(folder: Path) -> Iterator[Draft]:
    """A network of seven labels that do not exclude each other, for one of which nothing ever speaks."""
    given = Given(labels=",".join(FINDINGS), output="multilabel", input={"resize": 40, "crop": (32, 32)})
    with _drafted(folder, len(FINDINGS), 3, given) as drafted:
        output = drafted.manifest.output.model_copy(update={"thresholds": THRESHOLDS})
        yield replace(drafted, manifest=drafted.manifest.model_copy(update={"output": output}))


@contextmanager
def _drafted(folder: Path, outputs: int, channels: int, given: Given) -> Iterator[Draft]:
    torch.manual_seed(outputs)
    network = build(TINY, outputs, channels)
    head = network.get_submodule("fc")
    weight, bias = head.get_parameter("weight"), head.get_parameter("bias")
    weight.mul_(5)
    if outputs > 1:
        weight[3] = -weight[3].abs()  # features are at least 0
        bias[3] = 5
    file = folder / "x.pt"
    torch.save(network.state_dict(), file)
    with draft(read_checkpoint(file, replace(given, architecture=TINY))) as drafted:
        yield drafted


def learned(folder: Path) -> Draft:
    """A network of two classes that has learned all there is to learn of its answers."""
    model = folder / "model"
    shutil.copytree(LAYOUT, model)
    plain = Draft(model, checked_manifest(model), Verification(0, 0), Agreement(0, 0))
    said = carried(plain, observations(plain, folder, np.random.default_rng(0)))
    assert said.learned is not None
    ranges = (Range(said=0.6, right=0.62, images=30), Range(said=0.9, right=0.88, images=25))
    calibration = Calibration(folds=5, error_before=0.08, error_after=0.02, reliability=ranges)
    taken, _ = take_over(plain, replace(said, learned=said.learned.model_copy(update={"calibration": calibration})))
    return taken


# Every code that the service can answer with: those of its own errors, and those of what the framework refuses.
CODES: Final = {kind.code: STATUS[kind] for kind in STATUS} | {
    framework_error(status).error.code: status for status in (404, 405, 431, 500, 503)
}


def failing() -> ASGIApp:
    """The page on a service that answers an image called CODE.jpg with the error of this code."""

    async def fail(request: Request) -> Response:
        async with request.form() as form:
            code = str(getattr(form["img"], "filename", "")).removesuffix(".jpg")
        for kind in STATUS:
            if kind.code == code:
                raise kind("What the service says of it.")
        raise HTTPException(CODES[code])

    return Starlette(
        routes=[Route("/image_recognition_file", fail, methods=["POST"]), *page_routes(Metrics(), keyed=False)],
        middleware=[Middleware(ExceptionMiddleware, handlers={Exception: respond})],
        exception_handlers={HTTPException: respond},
    )

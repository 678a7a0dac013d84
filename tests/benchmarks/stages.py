"""Measure where the time of one image goes, by timing each stage of the pipeline in process."""

import base64
import functools
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final
from unittest.mock import patch

from src.api.schemas.answers import RecognitionResponse
from src.api.schemas.requests import RecognitionRequest
from src.cores import usable_cores
from src.pipeline import Pipeline
from src.runtimes.select import start
from src.stages import decode
from src.store import bundle
from tests.benchmarks.photos import PhotoSet
from tests.benchmarks.results import StageFigure
from tests.benchmarks.statistic import Spread

__all__ = ["GRADCAM", "NETWORK", "STAGES", "WHOLE", "measure_stages", "resolve"]

NETWORK: Final = "backbone and head"
GRADCAM: Final = "Grad-CAM"
WHOLE: Final = "whole, in process"

STAGES: Final = {
    "read the JSON": (f"{__name__}:read",),
    "base64": ("src.stages.decode:decode_base64",),
    "decode": ("src.pipeline:decode_image",),
    "transform": ("src.pipeline:transform",),
    NETWORK: ("src.runtimes.base:Runtime.evaluate",),
    "percentages": ("src.pipeline:predict",),
    GRADCAM: ("src.pipeline:gradcam", "src.runtimes.base:Evaluation.weights"),
    "render": ("src.pipeline:overlay",),
    "encode": ("src.pipeline:encode",),
    "write the JSON": (f"{__name__}:write",),
}
"""The functions of each stage, as module:name; none of them calls another."""

_WARM: Final = 5


@dataclass(frozen=True, slots=True)
class _Clock:
    """Seconds of each stage, summed over one image."""

    seconds: defaultdict[str, float]

    def timing(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[stage] += time.perf_counter() - began

        return timed


def measure_stages(photos: PhotoSet, seconds: float) -> tuple[StageFigure, ...]:
    """Recognize ``photos`` in turn for ``seconds``, with a heatmap; return the times of each stage and of the whole."""
    pipeline = _pipeline()
    bodies = [json.dumps({"img": base64.b64encode(file).decode()}).encode() for file in photos.files]
    found: defaultdict[str, list[float]] = defaultdict(list)
    clock = _Clock(defaultdict(float))
    with _clocked(clock):
        for body in _for(seconds, bodies):
            clock.seconds.clear()
            began = time.perf_counter()
            _answer(pipeline, body)
            found[WHOLE].append(time.perf_counter() - began)
            for stage in STAGES:
                found[stage].append(clock.seconds[stage])
    return tuple(_figure(photos.name, stage, times[_WARM:] or times) for stage, times in found.items())


def resolve(target: str) -> tuple[Any, str]:
    """Return the module or class that holds the function ``module:name``, and its name there.

    Raises:
        AttributeError: The function does not exist.
    """
    module, _, path = target.partition(":")
    *holders, name = path.split(".")
    holder = functools.reduce(getattr, holders, import_module(module))
    getattr(holder, name)
    return holder, name


def read(body: bytes) -> RecognitionRequest:
    """Read a request as the endpoint does."""
    return RecognitionRequest.model_validate_json(body)


def write(answer: RecognitionResponse) -> bytes:
    """Write an answer as the endpoint does."""
    return answer.model_dump_json(by_alias=True).encode()


def _answer(pipeline: Pipeline, body: bytes) -> bytes:
    asked = read(body)
    return write(RecognitionResponse.of(pipeline.recognize(decode.decode_base64(asked.img), asked), "benchmark:1"))


def _pipeline() -> Pipeline:
    """Return the stored default network as the service runs it, with one stream per core; only one is used here."""
    stored = bundle.load("image_recognition:latest")
    running = start(stored.folder, stored.manifest, threads=usable_cores(), device="cpu")
    return Pipeline(stored.manifest, running, decode.DecodeLimits())


@contextmanager
def _clocked(clock: _Clock) -> Iterator[None]:
    with ExitStack() as stack:
        for stage, targets in STAGES.items():
            for target in targets:
                holder, name = resolve(target)
                stack.enter_context(patch.object(holder, name, clock.timing(stage, getattr(holder, name))))
        yield


def _for(seconds: float, bodies: list[bytes]) -> Iterator[bytes]:
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        yield from bodies


def _figure(photos: str, stage: str, times: list[float]) -> StageFigure:
    ordered = sorted(1000 * each for each in times)
    quarter = len(ordered) // 4
    return StageFigure(photos, stage, Spread.of(ordered[quarter : len(ordered) - quarter]))

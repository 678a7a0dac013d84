"""A worker: takes the sources of one part at a time, recognizes their images and writes the part."""

import hashlib
import json
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import ray

from src.archive.duplicates import Claims
from src.archive.output import Output, Part, Run
from src.archive.reading import UNREADABLE, Found, Refusal, ahead, read
from src.archive.rows import Answer, table
from src.archive.sources import Source
from src.errors import ArchiveError, ModelError, RequestError
from src.options import Options
from src.pipeline import Pipeline, Recognition
from src.runtimes.select import Device, start
from src.settings import Settings
from src.stages.decode import DecodeLimits
from src.store.files import checked_manifest

__all__ = ["Assignment", "Crew", "Worker", "part_of"]

_AHEAD: Final = 8  # images for each thread whose bytes are in memory
_SHOWN: Final = 10
_FOR_A_GPU: Final = 2  # threads for each CPU


@dataclass(frozen=True, slots=True)
class Crew:
    """How many workers there are, and the CPUs and GPUs of each."""

    workers: int
    cpus: int
    gpus: int

    @classmethod
    def of(cls, resources: Mapping[str, float], concurrency: int | None, device: Device) -> Self:
        """Share out what a cluster has: a worker for each GPU where there are any and ``device`` allows, else CPU."""
        cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        if device != "cpu" and gpus:
            return cls(min(concurrency or gpus, gpus), max(1, cpus // gpus), 1)
        return cls(min(concurrency or cpus, cpus), 1, 0)

    @property
    def threads(self) -> int:
        """Images that a worker has in work at once: a GPU must not wait for them."""
        return _FOR_A_GPU * self.cpus if self.gpus else self.cpus


@dataclass(frozen=True, slots=True)
class Assignment:
    """What every worker is to do; ``files`` are those of the stored model, by name, as Ray keeps them."""

    run: Run
    output: str
    settings: Settings
    files: Any
    crew: Crew
    claims: Claims | None


class Worker:
    """The stored model, running on a node; what Ray calls an actor."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._output = Output(assignment.output)
        self._threads = ThreadPoolExecutor(assignment.crew.threads)
        self._folder = tempfile.TemporaryDirectory(prefix="image-recognition-")
        run = assignment.run
        self._options = Options(gradcam=run.heatmap_files, heatmaps=run.heatmaps)

    def __call__(self, row: Mapping[str, str]) -> dict[str, str]:
        """Do what ``row`` lists; return the part as JSON, or the fault that ends the run."""
        try:
            part = self._part([Source(**source) for source in json.loads(row["sources"])])
        except (ArchiveError, ModelError) as exc:
            return {"part": "", "fault": str(exc)}
        except Exception as exc:  # noqa: BLE001 - a full disk, or a mistake of ours: another worker would do no better
            return {"part": "", "fault": f"A worker on {socket.gethostname()} failed: {type(exc).__name__}: {exc}"}
        return {"part": part.model_dump_json(), "fault": ""}

    @cached_property
    def _pipeline(self) -> Pipeline:
        """What a fault at the first part is told of, as at any other: Ray would try a failing constructor again."""
        folder, files = Path(self._folder.name), ray.get(self._assignment.files)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        settings, manifest = self._assignment.settings, checked_manifest(folder)
        runtime = start(
            folder,
            manifest,
            threads=self._assignment.crew.threads,
            device=settings.device,
            runtime=settings.runtime,
            precision=settings.precision,
            cores=self._assignment.crew.cpus,
        )
        return Pipeline(manifest, runtime, DecodeLimits(settings.max_pixels, settings.max_input_side))

    def _part(self, sources: Sequence[Source]) -> Part:
        began, _ = time.perf_counter(), self._pipeline
        found = read(sources, self._assignment.settings.max_body_bytes)
        answers = list(ahead(self._answer, found, self._threads, _AHEAD * self._assignment.crew.threads))
        _check_readable(answers)
        part = part_of(sources, answers, time.perf_counter() - began)
        self._output.write(table(answers, self._assignment.run.model), part, self._assignment.run.token)
        return part

    def _answer(self, found: Found) -> Answer:
        if isinstance(found.content, Refusal):
            return Answer(found.path, None, found.content, 0.0)
        began, digest = time.perf_counter(), hashlib.sha256(found.content).hexdigest()
        outcome = self._duplicate(digest, found.path) or self._outcome(found.path, found.content)
        return Answer(found.path, digest, outcome, time.perf_counter() - began)

    def _duplicate(self, digest: str, path: str) -> str | None:
        claims = self._assignment.claims
        return claims.earlier(digest, path) if claims else None

    def _outcome(self, path: str, content: bytes) -> Recognition | Refusal:
        try:
            recognition = self._pipeline.recognize(content, self._options, also=self._assignment.run.targets)
        except RequestError as exc:
            return Refusal(exc.code, exc.message)
        except Exception as exc:  # noqa: BLE001 - no image ends the run
            return Refusal("internal", f"{type(exc).__name__}: {exc}")
        if recognition.explanation:
            name = hashlib.sha256(path.encode()).hexdigest()
            self._output.write_beside(f"heatmaps/{name[:2]}/{name}.jpg", recognition.explanation.image)
        return recognition


def part_of(sources: Sequence[Source], answers: Sequence[Answer], seconds: float) -> Part:
    """Return what a file with ``answers`` says of itself."""
    refused = [(answer.path, answer.outcome) for answer in answers if isinstance(answer.outcome, Refusal)]
    labels = (one.outcome.prediction.top[0].label for one in answers if isinstance(one.outcome, Recognition))
    return Part(
        sources=tuple(source.name for source in sources),
        images=len(answers),
        seconds=seconds,
        classes=Counter(labels),
        errors=Counter(refusal.code for _, refusal in refused),
        duplicates=sum(isinstance(answer.outcome, str) for answer in answers),
        failed=tuple((path, f"{refusal.code}: {refusal.message}") for path, refusal in islice(refused, _SHOWN)),
        slowest=tuple(nlargest(_SHOWN, ((answer.seconds, answer.path) for answer in answers))),
    )


def _check_readable(answers: Sequence[Answer]) -> None:
    """End the run where a node sees nothing of the archive: that is not the images' fault."""
    last = answers[-1].outcome if answers else None
    unreadable = [one for one in answers if isinstance(one.outcome, Refusal) and one.outcome.code == UNREADABLE]
    if isinstance(last, Refusal) and len(unreadable) == len(answers) > 1:
        raise ArchiveError(
            f"Node {socket.gethostname()} can read none of the {len(answers)} images from {answers[0].path} on"
            f" ({last.message}) See that every node can, and give the same command again: it goes on where it stopped."
        )

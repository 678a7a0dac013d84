"""Run a worker, which takes the sources of one part at a time, recognizes their images and writes the part."""

import hashlib
import json
import socket
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, repeat
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
import ray

from src.archive.assignment import Assignment
from src.archive.figures import Figures
from src.archive.output import Output, Part
from src.archive.reading import UNREADABLE, Found, Refusal, ahead, read
from src.archive.rows import Answer, table
from src.archive.sources import Source
from src.errors import ArchiveError, ModelError, RequestError
from src.options import Options
from src.pipeline import Pipeline, Recognition, Seen
from src.runtimes.base import Evaluation
from src.runtimes.select import start
from src.stages.decode import DecodeLimits
from src.store.bundle import Bundle
from src.store.files import checked_manifest
from src.store.manifest import Manifest

__all__ = ["Worker"]

_AHEAD: Final = 8  # images per thread that wait for the network
_ROWS: Final = 512  # per table
_GROUP: Final = 32  # images that the network sees in a row

Made = TypeVar("Made")


class Worker:
    """A stored model running on a node, as a Ray actor."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._output = Output(assignment.output)
        self._threads = ThreadPoolExecutor(assignment.crew.threads)
        self._options = Options(gradcam=assignment.run.heatmap_files, heatmaps=assignment.run.heatmaps)

    def __call__(self, row: Mapping[str, str]) -> dict[str, str]:
        """Process the sources in ``row``; return the part as JSON, or the fault that ends the run."""
        try:
            part = self._part([Source(**source) for source in json.loads(row["sources"])])
        except (ArchiveError, ModelError) as exc:
            return {"part": "", "fault": str(exc)}
        except Exception as exc:  # noqa: BLE001 - a full disk or a bug, which would hit any other worker too
            return {"part": "", "fault": f"A worker on {socket.gethostname()} failed: {type(exc).__name__}: {exc}"}
        return {"part": part.model_dump_json(), "fault": ""}

    @cached_property
    def _pipeline(self) -> Pipeline:
        """What a fault at the first part is told of, as at any other: Ray would try a failing constructor again.

        The files of the model are needed only meanwhile; left to the end, they would stay where Ray ends the process.
        """
        settings, files = self._assignment.settings, ray.get(self._assignment.files)
        with tempfile.TemporaryDirectory(prefix="image-recognition-") as scratch:
            folder = Path(scratch)
            for name, content in files.items():
                (folder / name).write_bytes(content)
            manifest = checked_manifest(folder)
            runtime = start(
                folder,
                manifest,
                at_once=self._at_once(manifest),
                threads=self._assignment.crew.threads,
                device=settings.device,
                runtime=settings.runtime,
                precision=settings.precision,
                cores=max(1, self._assignment.crew.cpus),
            )
            familiarity = Bundle(self._assignment.run.model, manifest, folder).familiarity
        limits = DecodeLimits(settings.max_pixels, settings.max_input_side)
        return Pipeline(manifest, runtime, limits, familiarity, exact=settings.resize == "exact")

    def _at_once(self, manifest: Manifest) -> int:
        return _GROUP if self._assignment.crew.gpus else manifest.batch

    def _part(self, sources: Sequence[Source]) -> Part:
        if not sources:  # the command only checks that workers start, which includes the model
            _ = self._pipeline
            return Part(sources=(), figures=Figures())
        return self._output.write(self._tables(sources), sources, self._assignment.run.token)

    def _tables(self, sources: Sequence[Source]) -> Generator[pa.Table, None, Figures]:
        """Yield the rows of ``sources``, a few at a time; return their figures."""
        began, figures = time.perf_counter(), Figures()
        answers = self._answers(read(sources, self._assignment.settings.max_body_bytes))
        while some := list(islice(answers, _ROWS)):
            _check_readable(some)
            figures = Figures.total([figures, Figures.of(some)])
            yield table(some, self._assignment.run.model)
        return figures.model_copy(update={"seconds": time.perf_counter() - began})

    def _answers(self, found: Iterator[Found]) -> Iterator[Answer]:
        crew, _ = self._assignment.crew, self._pipeline  # loaded once, before several threads ask for it
        # On one core, decoding between two images would evict the network's weights from the cache.
        seen = ahead(self._see, found, self._threads, _AHEAD * crew.threads) if crew.gpus else map(self._see, found)
        while group := list(islice(seen, _GROUP)):
            yield from self._recognized(group)

    def _see(self, found: Found) -> "_Begun | Answer":
        content = found.content
        if isinstance(content, Refusal):
            return Answer(found.path, None, content, 0.0)
        began, digest = time.perf_counter(), hashlib.sha256(content).hexdigest()
        claims = self._assignment.claims
        if claims and (first := claims.earlier(digest, found.path)):
            return Answer(found.path, digest, first, time.perf_counter() - began)
        outcome = _tried(lambda: self._pipeline.see(content, self._options))
        seconds = time.perf_counter() - began
        if isinstance(outcome, Seen):
            return _Begun(found.path, digest, outcome, seconds)
        return Answer(found.path, digest, outcome, seconds)

    def _recognized(self, group: "Sequence[_Begun | Answer]") -> Iterator[Answer]:
        """Yield the answers of ``group``, whose images run through the network one right after the other.

        This keeps its weights in the cache, which saves as much time as a batch, unless the model says otherwise.
        """
        yield from (one for one in group if isinstance(one, Answer))
        begun = [one for one in group if isinstance(one, _Begun)]
        at_once = self._at_once(self._pipeline.manifest)
        for few in (begun[first : first + at_once] for first in range(0, len(begun), at_once)):
            began = time.perf_counter()
            evaluations = self._pipeline.runtime.evaluate_batch(np.stack([one.seen.pixels for one in few]))
            each = (time.perf_counter() - began) / len(few)
            yield from map(self._answer, few, evaluations, repeat(each))

    def _answer(self, begun: "_Begun", evaluation: Evaluation, seconds: float) -> Answer:
        began, targets = time.perf_counter(), self._assignment.run.targets
        outcome = _tried(lambda: self._pipeline.answer(begun.seen, evaluation, self._options, also=targets))
        file = None
        if isinstance(outcome, Recognition) and outcome.explanation:
            name = hashlib.sha256(begun.path.encode()).hexdigest()
            file = self._output.write_beside(f"heatmaps/{name[:2]}/{name}.jpg", outcome.explanation.image)
            outcome = replace(outcome, explanation=None)
        return Answer(begun.path, begun.sha256, outcome, begun.seconds + seconds + time.perf_counter() - began, file)


@dataclass(frozen=True, slots=True)
class _Begun:
    """An image that waits for the network."""

    path: str
    sha256: str
    seen: Seen
    seconds: float


def _tried(make: Callable[[], Made]) -> Made | Refusal:
    """Return ``make()``, or a refusal if it fails: no image ends the run."""
    try:
        return make()
    except RequestError as exc:
        return Refusal(exc.code, exc.message)
    except Exception as exc:  # noqa: BLE001 - decoders and arithmetic raise errors of any kind
        return Refusal("internal", f"{type(exc).__name__}: {exc}")


def _check_readable(answers: Sequence[Answer]) -> None:
    """End the run if its node cannot read the archive at all: then the images are not to blame."""
    last = answers[-1].outcome
    unreadable = [one for one in answers if isinstance(one.outcome, Refusal) and one.outcome.code == UNREADABLE]
    if isinstance(last, Refusal) and len(unreadable) == len(answers) > 1:
        raise ArchiveError(
            f"Node {socket.gethostname()} cannot read any of the {len(answers)} images from {answers[0].path} on"
            f" ({last.message}) Give every node access, then run the same command again: it continues where it stopped."
        )

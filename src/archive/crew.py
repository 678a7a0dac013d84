"""The workers on Ray, and how the work is dealt out to them until nothing is left."""

import json
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Final

import pyarrow as pa
import ray.data
from ray.exceptions import RayError

from src.archive.assignment import Assignment
from src.archive.figures import Figures
from src.archive.output import Output, Part
from src.archive.reading import Refusal
from src.archive.rows import Answer, table
from src.archive.sources import Source
from src.archive.worker import Worker
from src.errors import ArchiveError

__all__ = ["deal", "finish"]

_MOST: Final = 512  # images in a part
_LEAST: Final = 16
_PARTS_EACH: Final = 8  # of a worker, where there are that many images: the last ones shall end together
_SPLIT: Final = 8  # a part that its worker did not survive


def finish(sources: Sequence[Source], assignment: Assignment, output: Output) -> Iterator[Part]:
    """Yield the parts as they are finished, until all ``sources`` are done.

    A worker that dies, with or without its node, takes its part with it: that is dealt out anew, in smaller parts. A
    source that no worker survives becomes an error.

    Raises:
        ArchiveError: No worker is left.
    """
    left, most = list(sources), _MOST
    while left:
        with suppress(RayError):  # what is not finished is found below
            yield from _round(deal(left, assignment.crew.workers, most), assignment)
        written = {name for part in output.finished() for name in part.sources}
        missed = [source for source in left if source.name not in written]
        if len(missed) == len(left) and most == 1:
            yield from (_alone(source, assignment, output) for source in missed)
            return
        left, most = missed, max(1, most // _SPLIT)


def _alone(source: Source, assignment: Assignment, output: Output) -> Part:
    """Give ``source`` to a worker that has nothing else to die of."""
    with suppress(RayError):
        for part in _round([[source]], assignment):
            return part
    _check_workers(assignment)
    return output.write(_deadly(source, assignment), [source], assignment.run.token)


def _check_workers(assignment: Assignment) -> None:
    """Refuse to blame the sources where there are no workers."""
    try:
        alive = list(_round([[]], assignment))
    except RayError as exc:
        raise ArchiveError(f"The workers on Ray are gone ({type(exc).__name__}): see its log, then go on.") from exc
    if not alive:
        raise ArchiveError("No worker starts on Ray any more: see its log, then go on.")


def _deadly(source: Source, assignment: Assignment) -> Generator[pa.Table, None, Figures]:
    answers = [Answer(source.name, None, Refusal("internal", "No worker survives it: see the log of Ray."), 0.0)]
    yield table(answers, assignment.run.model)
    return Figures.of(answers)


def deal(sources: Sequence[Source], workers: int, most: int = _MOST) -> list[list[Source]]:
    """Put images together to parts of up to ``most``; every shard is a part."""
    images = [source for source in sources if source.kind == "image"]
    size = min(most, max(_LEAST, len(images) // (workers * _PARTS_EACH)))
    parts = [images[first : first + size] for first in range(0, len(images), size)]
    return parts + [[source] for source in sources if source.kind != "image"]


def _round(parts: Sequence[Sequence[Source]], assignment: Assignment) -> Iterator[Part]:
    rows = [{"sources": json.dumps([asdict(source) for source in part])} for part in parts]
    crew = assignment.crew
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is no other way to say what becomes of a task whose worker died
        results = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Worker,
            # A second part waits at each worker: until Ray has sent one, a fifth of a second passes.
            compute=ray.data.ActorPoolStrategy(size=min(crew.workers, len(rows)), max_tasks_in_flight_per_actor=2),
            fn_constructor_args=(assignment,),
            num_cpus=crew.cpus,
            num_gpus=crew.gpus,
            max_restarts=-1,
            max_task_retries=0,
        )
    for result in results.iter_rows():
        if result["fault"]:
            raise ArchiveError(result["fault"])
        yield Part.model_validate_json(result["part"])

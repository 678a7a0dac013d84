"""Distribute the sources to workers on Ray until none is left."""

import json
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
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
_PARTS_EACH: Final = 8  # per worker, if there are enough images, so that all workers finish at about the same time
_SPLIT: Final = 8  # factor by which parts shrink after their workers died


def finish(sources: Sequence[Source], assignment: Assignment, output: Output) -> Iterator[Part]:
    """Yield the parts as they are finished, until all ``sources`` are done.

    The part of a worker that dies, with or without its node, is distributed again, in smaller parts. A source that
    kills every worker becomes an error.

    Raises:
        ArchiveError: No worker is left, or a worker reports a fault that ends the run.
    """
    left, most = list(sources), _MOST
    while left:
        with suppress(RayError):  # unfinished sources are found below
            yield from _round(deal(left, assignment.crew.workers, most), assignment)
        written = {name for part in output.finished() for name in part.sources}
        missed = [source for source in left if source.name not in written]
        if len(missed) == len(left) and most == 1:
            yield from (_alone(source, assignment, output) for source in missed)
            return
        left, most = missed, max(1, most // _SPLIT)


def _alone(source: Source, assignment: Assignment, output: Output) -> Part:
    """Give ``source`` to a worker without other sources; write an error if the worker dies again."""
    with suppress(RayError):
        for part in _round([[source]], assignment):
            return part
    _check_workers(assignment)
    return output.write(_deadly(source, assignment), [source], assignment.run.token)


def _check_workers(assignment: Assignment) -> None:
    """Raise an error if no worker runs at all, in which case the source is not to blame."""
    try:
        alive = list(_round([[]], assignment))
    except RayError as exc:
        raise ArchiveError(
            f"All workers on Ray have died ({type(exc).__name__}): see Ray's log, then run the same command again."
        ) from exc
    if not alive:
        raise ArchiveError("Ray cannot start any workers: see Ray's log, then run the same command again.")


def _deadly(source: Source, assignment: Assignment) -> Generator[pa.Table, None, Figures]:
    answers = [Answer(source.name, None, Refusal("internal", "Every worker that reads it dies: see Ray's log."), 0.0)]
    yield table(answers, assignment.run.model)
    return Figures.of(answers)


def deal(sources: Sequence[Source], workers: int, most: int = _MOST) -> list[list[Source]]:
    """Divide ``sources`` into equal parts of up to ``most`` images; every shard is a part of its own.

    Without a rest, which may be one image: one alone that cannot be read does not show that its node cannot read any.
    """
    images = [source for source in sources if source.kind == "image"]
    size = min(most, max(_LEAST, len(images) // (workers * _PARTS_EACH)))
    count = -(-len(images) // size)
    ends = [len(images) * part // max(1, count) for part in range(count + 1)]
    return [images[begin:end] for begin, end in pairwise(ends)] + [[one] for one in sources if one.kind != "image"]


def _round(parts: Sequence[Sequence[Source]], assignment: Assignment) -> Iterator[Part]:
    rows = [{"sources": json.dumps([asdict(source) for source in part])} for part in parts]
    crew = assignment.crew
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is no other way to set what happens to a task whose worker died
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

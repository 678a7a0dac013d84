"""The workers on Ray, and how the work is dealt out to them until nothing is left."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Final

import ray.data
from ray.exceptions import RayError

from src.archive.output import Output, Part
from src.archive.sources import Source
from src.archive.worker import Assignment, Worker
from src.errors import ArchiveError

__all__ = ["deal", "finish"]

_MOST: Final = 512  # images in a part
_LEAST: Final = 16
_PARTS_EACH: Final = 8  # of a worker, where there are that many images: the last ones shall end together
_SPLIT: Final = 8  # a part that its worker did not survive


def finish(sources: Sequence[Source], assignment: Assignment, output: Output) -> Iterator[Part]:
    """Yield the parts as they are finished, until all ``sources`` are done.

    A worker that dies, with or without its node, takes its part with it: that is dealt out anew, in smaller parts.

    Raises:
        ArchiveError: Nothing goes on.
    """
    left, most = list(sources), _MOST
    while left:
        with suppress(RayError):  # what is not finished is found below
            yield from _round(deal(left, assignment.crew.workers, most), assignment)
        written = {name for part in output.finished() for name in part.sources}
        missed = [source for source in left if source.name not in written]
        if len(missed) == len(left) and most == 1:
            raise ArchiveError(
                f"No worker survives {missed[0].name}: see the log of Ray, take it out of the archive, and go on."
            )
        left, most = missed, max(1, most // _SPLIT)


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
            compute=ray.data.ActorPoolStrategy(size=min(crew.workers, len(rows))),
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

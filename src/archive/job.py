"""Run the steps of the command, from its options to the finished output."""

import logging
import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray
import ray.data

import src
from src.archive.assignment import Assignment, Crew
from src.archive.crew import finish
from src.archive.duplicates import Claims
from src.archive.figures import Figures
from src.archive.output import Output, Run
from src.archive.progress import Bar
from src.archive.reading import UNREADABLE
from src.archive.sources import as_text, list_sources
from src.archive.summary import summarize
from src.cores import usable_cores
from src.errors import ArchiveError, BodyTooLarge, ImageTooLarge, as_archive_error
from src.settings import Settings
from src.stages.predict import find_class
from src.store import bundle
from src.store.bundle import Bundle

__all__ = ["Order", "carry_out"]

_MAY_PASS: Final = frozenset({UNREADABLE, BodyTooLarge.code, ImageTooLarge.code, "internal"})
_PATIENCE: Final = 10.0  # seconds in which a cluster must answer
_SPARE: Final = 256_000_000  # bytes of Ray's object store in addition to the model


@dataclass(frozen=True, slots=True)
class Order:
    """Options of the command; ``ray`` is the address of a cluster, or None to use only this machine."""

    input: str
    output: str
    heatmaps: bool = False
    heatmap_files: bool = False
    targets: tuple[str, ...] = ()
    model: str | None = None
    deduplicate: bool = False
    retry: bool = False
    concurrency: int | None = None
    ray: str | None = None


def carry_out(order: Order, settings: Settings) -> Figures:
    """Recognize the images that are not done yet; return the figures of the whole output.

    Raises:
        ArchiveError: The input or the output cannot be used, or the run cannot continue.
        ModelError: The model does not exist.
        RequestError: A target is not a class of the model.
    """
    archive, output = _absolute(order.input), Output(_absolute(order.output))
    if _lies_in(output.address, archive):
        raise ArchiveError(f"{order.output} lies in {order.input}, among its images: choose another folder.")
    stored = bundle.load(order.model or settings.model)
    begun = _run(order, settings, stored)
    sources = list_sources(archive, output.address)
    finished = output.begin(begun)
    if order.retry:
        finished = output.remove_failed(finished, _MAY_PASS, sources)
    done = {name for part in finished for name in part.sources}
    left = [source for source in sources if source.name not in done]
    if left:
        seen = sum(part.figures.images for part in finished)
        with Bar(left, seen) as bar, _cluster(order.ray, stored.folder) as files:
            claims = Claims(output.digests()) if order.deduplicate else None
            shown = settings.model_copy(update={"api_key": None})  # which the cluster must not see
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            crew = Crew.of(nodes, order.concurrency, settings.device)
            for part in finish(left, Assignment(begun, output.address, shown, files, crew, claims), output):
                bar.advance(part)
    output.end()
    return summarize(sources, output)


def _run(order: Order, settings: Settings, stored: Bundle) -> Run:
    return Run(
        token=uuid.uuid4().hex,
        archive=as_text(_absolute(order.input)),
        model=stored.tag,
        precision=settings.precision,
        resize=settings.resize,
        heatmaps=order.heatmaps,
        heatmap_files=order.heatmap_files,
        targets=tuple(_class(target, stored.manifest.labels) for target in order.targets),
        deduplicate=order.deduplicate,
    )


def _class(target: str, labels: tuple[str, ...]) -> int:
    """Return the index of the class that ``target`` names; a number that is not a label is an index."""
    index = find_class(int(target) if target.isdecimal() and target not in labels else target, labels)
    assert index is not None  # noqa: S101 - only None gives None
    return index


def _absolute(address: str) -> str:
    """Return ``address``, made absolute if it is a local path."""
    return address if "://" in address else str(Path(address).expanduser().absolute())


def _lies_in(inner: str, outer: str) -> bool:
    """Tell whether ``inner`` is below ``outer``, however both are written."""
    if "://" in inner or "://" in outer:
        return inner.startswith(f"{outer.rstrip('/')}/")
    return Path(outer).resolve() in Path(inner).resolve().parents


@contextmanager
def _cluster(address: str | None, model: Path) -> Iterator[Any]:
    """Join the cluster, or make one of this machine; yield the files of ``model``, put where every node finds them."""
    files = {file.name: file.read_bytes() for file in model.iterdir() if file.is_file()}
    with as_archive_error(f"Ray does not answer at {address}" if address else "Ray does not start on this machine"):
        _check_answers(address)
        ray.init(log_to_driver=False, logging_level="ERROR", **_place(address, sum(map(len, files.values()))))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's own prints a stack and aborts
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # what a worker takes with it when it dies is dealt out anew
        yield ray.put(files)
    finally:
        ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Raise an error if nothing listens at ``address``, HOST:PORT: Ray would try for many minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _place(address: str | None, model_bytes: int) -> dict[str, Any]:
    if address:
        return {"address": address, "runtime_env": {"py_modules": [str(Path(src.__file__).parent)]}}
    own = {"address": "local", "num_cpus": usable_cores(), "include_dashboard": False}
    return own | {"object_store_memory": model_bytes + _SPARE}

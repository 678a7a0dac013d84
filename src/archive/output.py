"""Manage OUTPUT, a folder of Parquet files, each written atomically and with the names of its sources."""

import json
import socket
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from tempfile import NamedTemporaryFile
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from src.archive.figures import Figures
from src.archive.rows import SCHEMA
from src.archive.sources import Source, opened_store
from src.errors import ArchiveError, as_archive_error

__all__ = ["Output", "Part", "Run"]

_STATE: Final = "_state/run.json"
_UNFINISHED: Final = "_unfinished"
_KEY: Final = b"image_recognition"
_READERS: Final = 16


class Run(BaseModel):
    """Everything that determines the rows of an output, and the ``token`` of the latest command, which may write it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str
    archive: str
    model: str
    precision: str
    resize: str = ""
    heatmaps: bool
    heatmap_files: bool
    targets: tuple[int, ...]
    deduplicate: bool

    def other_rows(self, run: "Run") -> str:
        """Name the fields that differ from ``run`` and change the rows; empty if there are none."""
        own, other = (one.model_dump(exclude={"token", "archive"}) for one in (self, run))
        return ", ".join(f"{name} {own[name]}" for name in own if own[name] != other[name])


class Part(BaseModel):
    """Contents of one file of the output: the names of its sources, and the figures of their images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...]
    figures: Figures


class Output:
    """Files at ``address``; used by the command and by every worker."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._files, self._root = opened_store(self.address)

    def begin(self, run: Run) -> list[Part]:
        """Take over the folder for ``run``; return the parts that earlier runs have finished.

        Raises:
            ArchiveError: It holds something else, or rows of another kind, or cannot be written to.
        """
        with as_archive_error(f"{self.address} cannot be written to", "choose another folder"):
            return self._begin(run)

    def _begin(self, run: Run) -> list[Part]:
        names = [path.rsplit("/", 1)[-1] for path in self._listed()]
        others = [name for name in names if name and not name.startswith(("part-", "_", "."))]
        earlier = self._run()
        if others or (earlier is None and any(name.startswith("part-") for name in names)):
            raise ArchiveError(f"{self.address} holds other files ({(others or names)[0]}): choose an empty folder.")
        if earlier and (changed := earlier.other_rows(run)):
            raise ArchiveError(f"{self.address} was begun with {changed}: use that again, or choose another folder.")
        self._files.makedirs(f"{self._root}/_state", exist_ok=True)
        state = f"{self._root}/{_STATE}"
        self._files.pipe_file(f"{state}.new", run.model_dump_json(indent=1).encode())
        self._files.mv(f"{state}.new", state)  # a full disk would else leave an empty one, and the parts without it
        return self.finished()

    def finished(self) -> list[Part]:
        """Return the parts as their files describe them."""
        with ThreadPoolExecutor(_READERS) as readers:
            return list(readers.map(self._part, self._parts()))

    def digests(self) -> Iterator[tuple[str, str]]:
        """Yield the SHA-256 of every image in the output and the path of the first image that has it."""
        for path in self._parts():
            with self._files.open(path) as stream:
                rows = pq.read_table(stream, columns=["sha256", "path", "duplicate_of"]).to_pylist()
            yield from ((row["sha256"], row["duplicate_of"] or row["path"]) for row in rows if row["sha256"])

    def write(self, tables: Generator[pa.Table, None, Figures], sources: Sequence[Source], token: str) -> Part:
        """Write ``tables``, the rows of ``sources``, atomically as one file, replacing that of the same sources.

        The file also stores the figures that ``tables`` returns at the end.

        Raises:
            ArchiveError: Another command has taken over the folder, or this node has another one of that name.
        """
        self._check_is_ours(token)
        names = tuple(source.name for source in sources)
        unfinished = f"{self._root}/{_UNFINISHED}/{token}-{_file_name(names)}"
        self._files.makedirs(f"{self._root}/{_UNFINISHED}", exist_ok=True)
        with NamedTemporaryFile(suffix=".parquet") as file:
            with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
                part = Part(sources=names, figures=_written(tables, writer))
                writer.add_key_value_metadata({_KEY: part.model_dump_json()})
            file.flush()
            self._files.put_file(file.name, unfinished)
        self._check_is_ours(token)
        self._files.mv(unfinished, f"{self._root}/{_file_name(names)}")
        return part

    def remove_failed(self, parts: Sequence[Part], codes: frozenset[str], sources: Sequence[Source]) -> list[Part]:
        """Remove those of ``parts`` that have one of the errors ``codes``, to be done again; return the others.

        Raises:
            ArchiveError: One of them has a source that is not among ``sources``, and so would not be done again.
        """
        listed = {name for source in sources for name in (source.name, source.path)}
        failed = [part for part in parts if codes & part.figures.errors.keys()]
        if gone := [name for part in failed for name in part.sources if name not in listed]:
            raise ArchiveError(
                f"{gone[0]} is not in INPUT, but in a file of {self.address} that is to be processed again: give the"
                " INPUT with which it was written, or use another OUTPUT and no --retry."
            )
        for part in failed:
            self._files.rm_file(f"{self._root}/{_file_name(part.sources)}")
        return [part for part in parts if not codes & part.figures.errors.keys()]

    def write_beside(self, name: str, content: bytes) -> str:
        """Write a file that is not a part under ``name`` with a leading underscore; return its path in the folder."""
        path = f"{self._root}/_{name}"
        self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self._files.pipe_file(path, content)
        return f"_{name}"

    def end(self) -> None:
        """Remove the unfinished files of interrupted commands."""
        if self._files.exists(f"{self._root}/{_UNFINISHED}"):
            self._files.rm(f"{self._root}/{_UNFINISHED}", recursive=True)

    def _check_is_ours(self, token: str) -> None:
        run = self._run()
        if run is None:
            node = f"Node {socket.gethostname()} does not see what the command has written to {self.address}"
            raise ArchiveError(f"{node}: give a folder that every node shares, or one in an object store.")
        if run.token != token:
            raise ArchiveError(f"Another command has taken over {self.address}: this one stops.")

    def _parts(self) -> list[str]:
        return sorted(path for path in self._listed() if path.rsplit("/", 1)[-1].startswith("part-"))

    def _listed(self) -> list[str]:
        self._files.invalidate_cache()
        return list(self._files.ls(self._root, detail=False)) if self._files.isdir(self._root) else []

    def _run(self) -> Run | None:
        try:
            return Run.model_validate_json(self._files.cat_file(f"{self._root}/{_STATE}"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError as exc:
            message = f"{self.address}/{_STATE} is damaged or from another version: choose another folder."
            raise ArchiveError(message) from exc

    def _part(self, path: str) -> Part:
        try:
            with self._files.open(path) as stream:
                metadata = pq.read_metadata(stream).metadata or {}
            return Part.model_validate_json(metadata[_KEY])
        except (KeyError, ValueError, pa.ArrowException) as exc:
            raise ArchiveError(f"{path} is damaged or was not written by this command: remove it.") from exc


def _file_name(names: Sequence[str]) -> str:
    return f"part-{sha256(json.dumps(names).encode()).hexdigest()[:20]}.parquet"


def _written(tables: Generator[pa.Table, None, Figures], writer: pq.ParquetWriter) -> Figures:
    while True:
        try:
            writer.write_table(next(tables))
        except StopIteration as end:
            figures: Figures = end.value
            return figures

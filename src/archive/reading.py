"""Read the bytes of each image of the sources, ahead of their use."""

import socket
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.spec import AbstractFileSystem

from src.archive.sources import Source, as_text, image_column, is_sidecar, opened_store
from src.errors import ArchiveError, BodyTooLarge, InvalidRequest, UnsupportedImage

__all__ = ["UNREADABLE", "Found", "Refusal", "ahead", "read"]

UNREADABLE: Final = "unreadable"
_READERS: Final = 8  # files read in parallel, because object stores have a high latency
_ROWS: Final = 16  # of a Parquet file per batch
_BUFFER: Final = 1 << 20
_LINK: Final = "The member is a link, not a file: pack the files with tar --dereference --hard-dereference."

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an image has no result: a code for programs, a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Found:
    """An image of an archive: its bytes, or why they are missing."""

    path: str
    content: bytes | Refusal


def read(sources: Iterable[Source], max_bytes: int) -> Iterator[Found]:
    """Yield the images of ``sources`` in order; one that cannot be read, or is too large, becomes a ``Refusal``.

    A truncated shard adds one ``Refusal``, at its own address.

    Raises:
        ArchiveError: There is no such shard on this node.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        for kind, group in groupby(sources, attrgetter("kind")):
            if kind == "image":
                yield from ahead(partial(_read_file, max_bytes=max_bytes), group, readers, 2 * _READERS)
            else:
                yield from chain.from_iterable(_read_shard(shard, max_bytes) for shard in group)


def ahead(
    make: Callable[[Item], Made], items: Iterable[Item], threads: ThreadPoolExecutor, most: int
) -> Iterator[Made]:
    """Yield ``make(item)`` for ``items`` in order, while ``threads`` compute up to ``most`` of the next results."""
    waiting: deque[Future[Made]] = deque()
    for item in items:
        waiting.append(threads.submit(make, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read_file(source: Source, max_bytes: int) -> Found:
    try:
        files, path = opened_store(source.address)
        content = _beginning(files, path, max_bytes + 1)
    except Exception as exc:  # noqa: BLE001 - each store has errors of its own
        return Found(source.path, _unreadable(exc))
    return Found(source.path, _checked(content, max_bytes))


def _beginning(files: AbstractFileSystem, path: str, length: int) -> bytes:
    """Return up to ``length`` bytes of a file; object stores refuse every range of an empty one."""
    try:
        content: bytes = files.cat_file(path, start=0, end=length)
    except OSError:
        if files.size(path) != 0:
            raise
        return b""
    return content


def _read_shard(source: Source, max_bytes: int) -> Iterator[Found]:
    images = 0
    try:
        for found in (_read_tar if source.kind == "tar" else _read_rows)(source, max_bytes):
            images += 1
            yield found
    except FileNotFoundError as exc:  # all of its images would be one error, and never tried again
        raise ArchiveError(
            f"Node {socket.gethostname()} cannot find {source.path}. See that every node can, or take it off the list,"
            " then run the same command again: it continues where it stopped."
        ) from exc
    except Exception as exc:  # noqa: BLE001 - a damaged shard fails in many ways
        yield Found(source.name, _unreadable(exc, f" after {images} images"))


def _read_tar(source: Source, max_bytes: int) -> Iterator[Found]:
    files, path = opened_store(source.address)
    with files.open(path, block_size=_BUFFER) as stream, tarfile.open(fileobj=stream) as shard:
        for member in shard:
            vars(shard)["members"] = []  # otherwise it grows with the shard
            if is_sidecar(member.name):
                continue
            name = f"{source.path}#{as_text(member.name)}"
            if member.isfile():
                image = shard.extractfile(member)
                content = image.read(max_bytes + 1) if image else b""
                yield Found(name, _checked(content, max_bytes))
            elif member.islnk() or member.issym():
                yield Found(name, Refusal(UnsupportedImage.code, _LINK))
        _check_end(shard)


def _check_end(shard: tarfile.TarFile) -> None:
    """Refuse a file that is truncated between two members or within a header, which ``tarfile`` takes for the end."""
    file: Any = shard.fileobj
    file.seek(shard.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("unexpected end of data")


def _read_rows(source: Source, max_bytes: int) -> Iterator[Found]:
    files, path = opened_store(source.address)
    with files.open(path) as stream:
        table = pq.ParquetFile(stream, buffer_size=_BUFFER)
        column = image_column(table.schema_arrow)
        groups = range(*(source.groups or (0, table.num_row_groups)))
        row = source.first
        for batch in table.iter_batches(_ROWS, groups, [column], use_threads=False):
            values = batch.column(0)
            for value in values.field("bytes") if pa.types.is_struct(values.type) else values:
                content = value.as_py()
                none = Refusal(InvalidRequest.code, "The row has no image.")
                yield Found(f"{source.path}#{row}", none if content is None else _checked(content, max_bytes))
                row += 1


def _checked(content: bytes, max_bytes: int) -> bytes | Refusal:
    if len(content) > max_bytes:
        return Refusal(
            BodyTooLarge.code, f"The file has over {max_bytes} bytes: raise IMAGE_RECOGNITION_MAX_BODY_BYTES."
        )
    return content


def _unreadable(error: Exception, where: str = "") -> Refusal:
    return Refusal(UNREADABLE, f"The file could not be read{where} ({type(error).__name__}: {str(error)[:200]}).")

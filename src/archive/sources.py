"""List the sources of INPUT: files with one image, tar files, and row groups of Parquet files."""

import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from src.errors import ArchiveError, as_archive_error

__all__ = ["Source", "as_text", "image_column", "is_sidecar", "list_sources", "opened_store"]

ROWS: Final = 512  # at least as many of a Parquet file are one source
_TARS: Final = (".tar", ".tar.gz", ".tgz")
_LISTS: Final = {".txt", ".lst", ".list"}
_SIDECARS: Final = frozenset(
    {".cls", ".csv", ".db", ".html", ".ini", ".json", ".jsonl", ".log", ".md", ".md5", ".npy", ".npz", ".pkl", ".pt"}
    | {".pth", ".py", ".safetensors", ".sha256", ".toml", ".tsv", ".xml", ".yaml", ".yml", *_LISTS}
)
_COLUMNS: Final = ("image", "bytes", "img", "jpg", "jpeg", "png", "content", "data")


@dataclass(frozen=True, slots=True)
class Source:
    """An address with images, processed as a whole or not at all; ``images`` is their number, None if unknown.

    ``groups`` is a half-open range of row groups of a Parquet file, ``first`` the number of its first row.
    """

    address: str
    kind: Literal["image", "tar", "parquet"] = "image"
    images: int | None = 1
    groups: tuple[int, int] | None = None
    first: int = 0

    @property
    def name(self) -> str:
        """Name that is unique in the archive."""
        return f"{self.path}#{self.first}" if self.groups else self.path

    @property
    def path(self) -> str:
        """The address as text that can be stored."""
        return as_text(self.address)


def list_sources(archive: str, output: str | None = None) -> list[Source]:
    """Return what a folder, a pattern, a list of addresses or a single file holds, each once, in order.

    Names that begin with a dot or end like those of data beside images (.json, .txt, ...) are left out, and what an
    earlier run wrote to the folder ``output``: a pattern may match it.

    Raises:
        ArchiveError: There is nothing, or it cannot be read.
    """
    written = (f"{output}/_", f"{output}/part-") if output else ()
    sources: list[Source] = []
    with as_archive_error(f"{archive} cannot be read", "see that you may read it"), suppress(FileNotFoundError):
        addresses = dict.fromkeys(one for one in _addresses(archive) if not one.startswith(written))
        sources = [source for address in addresses for source in _sources(address)]
    if not sources:
        raise ArchiveError(f"There are no images at {archive}: give a folder, a pattern, a list of files or a file.")
    return sources


def opened_store(address: str) -> tuple[AbstractFileSystem, str]:
    """Return the store of ``address``, and the path in it.

    Raises:
        ArchiveError: There is no such kind of store, or its package is not installed.
    """
    if "://" not in address:  # for fsspec, "::" in a name ends the path
        return LocalFileSystem(), address
    try:
        files, path = url_to_fs(address)
    except (ImportError, ValueError) as exc:
        raise ArchiveError(f"{address} cannot be used: {exc}.") from exc
    return files, path


def as_text(name: str) -> str:
    r"""Return the name of a file with its bytes that are not UTF-8, which neither Parquet nor JSON holds, as ``\xfc``.

    Archives made on older systems have such names.
    """
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def image_column(schema: pa.Schema) -> str | None:
    """Return the column with the images' bytes, such as ``image``, or ``image.bytes`` in a struct; None if unclear."""
    binary = [field.name for field in schema if _is_binary(field.type)]
    binary += [
        f"{field.name}.bytes"
        for field in schema
        if pa.types.is_struct(field.type) and any(one.name == "bytes" and _is_binary(one.type) for one in field.type)
    ]
    named = [name for known in _COLUMNS for name in binary if name.partition(".")[0] == known]
    return named[0] if named else binary[0] if len(binary) == 1 else None


def is_sidecar(name: str) -> bool:
    """Return whether the file ``name`` is hidden or metadata, and so not an image."""
    path = PurePosixPath(name)
    return path.name.startswith(".") or path.suffix.lower() in _SIDECARS


def _is_binary(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _addresses(archive: str) -> Iterator[str]:
    files, path = opened_store(archive)
    if files.isdir(path):
        yield from (_address(files, one) for one in sorted(_found(files, path)) if not _is_no_image(one, path))
    elif not files.exists(path) and any(sign in path for sign in "*?["):
        matches = files.glob(path, detail=True)  # isdir() would look through all of a folder in a store for each match
        matched = [one for one, info in matches.items() if info["type"] != "directory"]
        begin = re.split(r"[*?[]", path, maxsplit=1)[0]
        yield from (_address(files, one) for one in sorted(matched) if not _is_no_image(one, begin))
    elif PurePosixPath(path).suffix.lower() in _LISTS:
        yield from _listed(files.cat_file(path))
    elif files.exists(path):
        yield _address(files, path)


def _found(files: AbstractFileSystem, path: str) -> list[str]:
    """Return the files below ``path``, and what is to become an error: links to folders, folders closed to us."""
    if not isinstance(files, LocalFileSystem):
        return list(files.find(path))
    found: list[str] = []

    def closed(error: OSError) -> None:
        if error.filename == path:
            raise error
        found.append(str(error.filename))

    for folder, folders, names in os.walk(path, onerror=closed):
        links = (name for name in folders if Path(folder, name).is_symlink())
        found += (f"{folder}/{name}" for name in (*names, *links))
    return found


def _is_no_image(file: str, folder: str) -> bool:
    """Tell whether ``file`` is hidden, metadata, or, in an object store, only stands for a folder."""
    inside = file.removeprefix(folder).lstrip("/")
    return file.endswith("/") or is_sidecar(file) or any(part.startswith(".") for part in inside.split("/"))


def _listed(content: bytes) -> Iterator[str]:
    """Yield the addresses in a list: names of files as their bytes are, or text as Windows writes it."""
    encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
    text = content.decode(encoding, "surrogateescape")
    for line in filter(None, map(str.strip, text.splitlines())):
        yield line if "://" in line else str(Path(line).absolute())


def _address(files: AbstractFileSystem, path: str) -> str:
    """Return ``path`` with the scheme of its store; without one for a local file."""
    address: str = files.unstrip_protocol(path)
    return address.removeprefix("file://")


def _sources(address: str) -> Iterator[Source]:
    lower = address.lower()
    if lower.endswith(_TARS):
        yield Source(address, "tar", None)
    elif lower.endswith(".parquet"):
        yield from _row_groups(address)
    else:
        yield Source(address)


def _row_groups(address: str) -> Iterator[Source]:
    files, path = opened_store(address)
    try:
        with files.open(path) as stream:
            metadata = pq.read_metadata(stream)
    except (OSError, pa.ArrowException):
        yield Source(address, "parquet")  # the worker that reads it reports the error
        return
    if image_column(metadata.schema.to_arrow_schema()) is None:
        raise ArchiveError(
            f"{address} has no column that is clearly that of the images: name it {', '.join(_COLUMNS[:3])} or similar,"
            " or leave a file without images out by a pattern, such as '**/*.jpg'."
        )
    begin = first = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows >= ROWS or group == metadata.num_row_groups - 1:
            yield Source(address, "parquet", rows, (begin, group + 1), first)
            begin, first, rows = group + 1, first + rows, 0

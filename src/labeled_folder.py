"""Labeled images: a folder per class, with files at any depth, or a CSV with a 0 or 1 for each class."""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from src.errors import ModelError

__all__ = ["LabelTable", "class_folders", "fingerprint", "image_files", "read_table"]

_FORM: Final = "the first line must be image,<class>,<class>,..., every other line a file and a 0 or 1 for each class"


def class_folders(folder: Path) -> list[Path]:
    """Return the folder of each class, except hidden ones, sorted by name as in torchvision's ImageFolder.

    Raises:
        ModelError: The folder does not exist.
    """
    if not folder.is_dir():
        fault = f"{folder} is not a folder" if folder.exists() else f"There is no folder {folder}"
        raise ModelError(f"{fault}: name one that has a folder of images for each class.")
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the files below the folder of a class, sorted, except hidden ones and those in hidden folders."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def fingerprint(files: Iterable[Path]) -> str:
    """Return the SHA-256 of the sorted SHA-256 digests of ``files``: it identifies images whatever their names.

    Files that cannot be read are left out.
    """
    digests = []
    for file in files:
        with suppress(OSError):
            digests.append(hashlib.sha256(file.read_bytes()).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Images of any number of classes: the file of each, and which of the ``labels`` it has."""

    labels: tuple[str, ...]
    rows: tuple[tuple[Path, tuple[bool, ...]], ...]


def read_table(file: Path) -> LabelTable:
    """Read a CSV of labels: a line ``image,<class>,<class>,...``, then for each image its file and a 0 or 1 per class.

    File paths are relative to the folder of the CSV.

    Raises:
        ModelError: The file is not such a table; the message says where.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            (_, *labels), *rows = (row for row in csv.reader(lines) if row)
            labels = [label.strip() for label in labels]
    except (OSError, ValueError, csv.Error) as exc:
        raise ModelError(f"{file} cannot be read as a CSV of labels: {_FORM}.") from exc
    if not (rows and labels and all(labels)) or len(set(labels)) != len(labels):
        raise ModelError(f"{file} names no images, no classes, or a class twice: {_FORM}.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(labels) + 1 or not {cell.strip() for cell in row[1:]} <= {"0", "1"}:
            raise ModelError(f"{file}: image {number}, {row[0]!r}, does not have a 0 or 1 for each class: {_FORM}.")
    marked = ((file.parent / row[0], tuple(cell.strip() == "1" for cell in row[1:])) for row in rows)
    return LabelTable(tuple(labels), tuple(marked))

"""A labelled folder: in it a folder for each class, named like the class, with its image files in any depth."""

from collections.abc import Iterator
from pathlib import Path

from src.errors import ModelError

__all__ = ["class_folders", "image_files"]


def class_folders(folder: Path) -> list[Path]:
    """Return the folder of each class, sorted by name as torchvision's ImageFolder does; hidden ones are passed over.

    Raises:
        ModelError: There is no such folder.
    """
    if not folder.is_dir():
        raise ModelError(f"There is no folder {folder}: give one that has a folder of images for each class.")
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the files below the folder of a class, sorted; what is hidden, or lies in what is, is passed over."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path

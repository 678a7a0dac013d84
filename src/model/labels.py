"""The names of the classes, from where people have them."""

import json
from collections.abc import Mapping
from pathlib import Path

from src.errors import ModelError

__all__ = ["labels_in", "read_labels"]


def read_labels(source: str) -> tuple[str, ...]:
    """Return the class names, by index, that ``source`` gives.

    ``source`` is a text file (a name a line), a JSON file (a list of names, or a map from index to name or from name to
    index), a folder with one folder per class (sorted by name, as torchvision's ImageFolder does), or the names
    themselves, separated by commas.

    Raises:
        ModelError: There are no names, an index is missing, or a name is empty.
    """
    path = Path(source)
    if source and path.is_dir():
        labels = tuple(sorted(folder.name for folder in path.iterdir() if folder.is_dir()))
    elif path.is_file():
        labels = _from_json(path) if path.suffix == ".json" else _from_text(path)
    elif source and "," not in source:
        raise ModelError(f"There is no file or folder {source!r} with labels; names themselves are written as bus,car.")
    else:
        labels = tuple(label.strip() for label in source.split(","))
    if not labels or not all(labels):
        raise ModelError(f"{source} gives no names, or an empty one: name every class once.")
    return labels


def _from_text(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8-sig").strip().splitlines())
    except UnicodeDecodeError as exc:
        raise ModelError(f"{path} is no text in UTF-8: write one class name a line.") from exc


def _from_json(path: Path) -> tuple[str, ...]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as exc:
        raise ModelError(f"{path} is no JSON: {exc}.") from exc
    labels = labels_in(content)
    if labels is None:
        raise ModelError(f"{path} is neither a list of names nor a map between names and the indices 0, 1, 2, ...")
    return labels


def labels_in(content: object) -> tuple[str, ...] | None:
    """Return the class names, by index, of a list of them or a map between them and 0, 1, 2, ...; None of all else."""
    if isinstance(content, list | tuple) and all(isinstance(label, str) for label in content):
        return tuple(content)
    if isinstance(content, Mapping):
        by_index = _by_index(content)
        if sorted(by_index) == list(range(len(by_index))):
            return tuple(by_index[index] for index in range(len(by_index)))
    return None


def _by_index(content: Mapping[object, object]) -> dict[int, str]:
    """Return index -> name of a map either way round; what is neither is left out."""
    named = {index: name for name, index in content.items() if type(index) is int and isinstance(name, str)}
    numbered = {int(str(key)): name for key, name in content.items() if str(key).isdecimal() and isinstance(name, str)}
    return named or numbered

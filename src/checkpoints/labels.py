"""Read class names from the places where they are usually kept."""

import json
import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Final

from src.checkpoints.reading.nested import walk
from src.checkpoints.reading.plain import plain
from src.errors import ModelError, Remedy
from src.labeled_folder import class_folders

__all__ = ["labels_of", "read_labels", "stored_labels"]

# Usual keys combine these words: class_names, idx2label, label_to_index, categories, ...
_MEANT: Final = {"class", "classes", "label", "labels", "category", "categories", "classnames", "labelnames"}
_BESIDE: Final = {
    "name",
    "names",
    "list",
    "map",
    "mapping",
    "dict",
    "index",
    "idx",
    "id",
    "ids",
    "to",
    "2",
    "int",
    "str",
}
_OF_SCIKIT_LEARN: Final = {"target", "names"}
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d")
_COLLECTIONS: Final = (list, tuple, set, Mapping)


def read_labels(source: str) -> tuple[str, ...]:
    """Return the class names in ``source``, by index.

    ``source`` is a text file (one name per line), a JSON file (a list of names, or a map from index to name or from
    name to index), a folder with one folder per class (sorted by name, as torchvision's ImageFolder does), or the names
    themselves, separated by commas.

    Raises:
        ModelError: There are no names, an index is missing, or a name is empty.
    """
    path = Path(source)
    if not os.path.exists(source):  # noqa: PTH110 - Path.exists raises on a list too long for a file name
        labels = _from_list(source)
    elif path.is_dir():
        labels = tuple(folder.name for folder in class_folders(path))
    else:
        labels = _from_json(path) if path.suffix == ".json" else _from_text(path)
    if not labels or not all(labels):
        raise ModelError(f"{source} has no names, or an empty one: name every class.")
    return labels


def labels_of(content: Iterable[object]) -> tuple[str, ...]:
    """Return the class names, by index, of a list of them, or a map between them and the indices.

    Raises:
        ModelError: It is something else, such as a set, which has no order, or a name is empty.
    """
    ordered = isinstance(content, Mapping | Sequence) or hasattr(content, "__array__")
    labels = _labels_in(content if isinstance(content, Mapping) else list(content)) if ordered else None
    if not labels or not all(labels):
        raise ModelError(
            "labels must be a list of names, or a map between names and the indices 0, 1, 2, ...: name every class."
        )
    return tuple(map(str, labels))  # also those of NumPy


def stored_labels(num_classes: int, *said: Mapping[str, object]) -> tuple[tuple[str, ...], str]:
    """Return the class names found in ``said``, what a file says, or made-up ones, and their source.

    They may be nested, such as in the hyper-parameters of a data module.

    Raises:
        ModelError: There are names for another number of classes, or several lists or maps that differ.
    """
    named = ((name, plain(value)) for name, value in walk(*said) if _is_of_labels(name))
    written = [(name, value) for name, value in named if isinstance(value, _COLLECTIONS)]
    usable = [(name, labels) for name, value in written if (labels := _labels_in(value)) and all(labels)]
    fitting = [(name, labels) for name, labels in usable if len(labels) == num_classes]
    if len({labels for _, labels in fitting}) > 1:
        names = " and ".join(dict(fitting))
        raise ModelError(f"{names} in the file name the classes differently: give the right labels.", Remedy("labels"))
    for name, labels in fitting:
        return labels, f"from {name} in the file"
    for name, labels in usable:
        if any(name in content for content in said):  # a nested one may belong to something else
            raise ModelError(
                f"The network has {num_classes} classes but there are {len(labels)} labels in the file's {name}:"
                " give the right ones.",
                Remedy("labels"),
            )
    names = " and ".join(dict(written))
    unusable = (
        f": {names} in the file is not a list or map of names for 0, 1, 2, ..., {num_classes - 1}" if written else ""
    )
    return tuple(f"class {index}" for index in range(num_classes)), f"made up{unusable}"


def _is_of_labels(name: str) -> bool:
    words = {word.lower() for word in _WORD.findall(name)}
    return words == _OF_SCIKIT_LEARN or (words <= _MEANT | _BESIDE and bool(words & _MEANT))


def _from_list(source: str) -> tuple[str, ...]:
    if source and "," not in source:
        raise ModelError(f"There is no file or folder {source!r} with labels: to give names directly, write bus,car.")
    return tuple(label.strip() for label in source.split(","))


def _from_text(path: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").strip().splitlines())
    except UnicodeDecodeError as exc:
        raise ModelError(f"{path} is not UTF-8 text: write one class name per line.") from exc


def _from_json(path: Path) -> tuple[str, ...]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as exc:
        raise ModelError(f"{path} is not JSON: {exc}.") from exc
    if isinstance(content, dict) and all(_is_synset(entry) for entry in content.values()):
        content = {index: name for index, (_, name) in content.items()}
    labels = _labels_in(content)
    if labels is None:
        raise ModelError(f"{path} is neither a list of names nor a map between names and the indices 0, 1, 2, ...")
    return labels


def _is_synset(entry: object) -> bool:
    """Return whether ``entry`` is one of the usual imagenet_class_index.json: an identifier of WordNet and a name."""
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)  # noqa: PLR2004


def _labels_in(content: object) -> tuple[str, ...] | None:
    """Return the class names, by index, of a list of them or a map between them and 0, 1, 2, ...; else None."""
    if isinstance(content, list | tuple) and all(isinstance(label, str) for label in content):
        return tuple(content)
    if isinstance(content, Mapping):
        by_index = _by_index(content)
        if len(by_index) == len(content) and sorted(by_index) == list(range(len(by_index))):
            return tuple(by_index[index] for index in range(len(by_index)))
    return None


def _by_index(content: Mapping[object, object]) -> dict[int, str]:
    """Return index -> name for a map in either direction; if both sides are numbers as text, the keys are indices."""
    turned = [(value, key) for key, value in content.items()]
    for pairs, kind in ((turned, Integral), (content.items(), Integral), (content.items(), str), (turned, str)):
        if all(_is_index(index, kind) and isinstance(name, str) for index, name in pairs):
            return {int(str(index)): str(name) for index, name in pairs}
    return {}


def _is_index(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and str(value).isdecimal()

"""Class names from their usual places."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from src.checkpoints.labels import labels_of, read_labels
from src.errors import ModelError

FILES = {
    "lines.txt": "bus\nfire engine\n",
    "windows.txt": "\ufeffbus\r\nfire engine\r\n",
    "spaces.txt": "bus \n\tfire engine\n",
    "list.json": json.dumps(["bus", "fire engine"]),
    "by_index.json": json.dumps({"1": "fire engine", "0": "bus"}),
    "imagenet_class_index.json": json.dumps({"0": ["n02924116", "bus"], "1": ["n03345487", "fire engine"]}),
    "by_name.json": json.dumps({"fire engine": 1, "bus": 0}),
}


@pytest.mark.parametrize("name", FILES)
def test_labels_come_from_files(name: str, tmp_path: Path) -> None:
    """Text files, JSON lists and JSON maps in either direction give the same names."""
    (tmp_path / name).write_text(FILES[name], encoding="utf-8", newline="")
    assert read_labels(str(tmp_path / name)) == ("bus", "fire engine")


def test_labels_come_from_a_dataset(tmp_path: Path) -> None:
    """A folder with one folder per class gives their names in order; files beside them do not count."""
    for name in ("fire engine", "bus"):
        (tmp_path / name).mkdir()
    (tmp_path / "README").touch()
    assert read_labels(str(tmp_path)) == ("bus", "fire engine")


@pytest.mark.parametrize("text", ["bus,fire engine", " bus , fire engine "])
def test_labels_come_from_a_list(text: str) -> None:
    """Names can be separated by commas."""
    assert read_labels(text) == ("bus", "fire engine")


def test_a_list_may_be_longer_than_a_file_name() -> None:
    """A hundred names are more than a file system allows in the name of one file."""
    names = tuple(f"class of {index}" for index in range(100))
    assert read_labels(",".join(names)) == names


@pytest.mark.parametrize(
    "labels",
    [["bus", "car"], ("bus", "car"), np.array(["bus", "car"]), {"car": 1, "bus": 0}, {1: "car", 0: "bus"}],
    ids=["list", "tuple", "array", "by name", "by index"],
)
def test_labels_come_from_python(labels: Iterable[object]) -> None:
    """A map such as class_to_idx is read by its indices, not in its own order."""
    assert labels_of(labels) == ("bus", "car")


@pytest.mark.parametrize("labels", [[], [0, 1], range(2), {"bus", "car"}, {"bus": 1, "car": 2}, ["bus", ""]])
def test_labels_from_python_that_are_none_are_explained(labels: Iterable[object]) -> None:
    """Numbers, sets and empty names are an error."""
    with pytest.raises(ModelError, match="must be a list of names"):
        labels_of(labels)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken.json", "{"),
        ("number.json", "7"),
        ("numbers.json", "[1, 2]"),
        ("gap.json", '{"0": "bus", "2": "car"}'),
        ("empty.json", "[]"),
        ("empty.txt", ""),
        ("hole.txt", "bus\n\ncar"),
    ],
)
def test_a_file_without_names_is_explained(name: str, content: str, tmp_path: Path) -> None:
    """A file with no class names, or with missing ones, is an error."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError):
        read_labels(str(tmp_path / name))


def test_a_file_that_is_not_text_is_explained(tmp_path: Path) -> None:
    """Bytes that are not text are an error."""
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="not UTF-8 text"):
        read_labels(str(tmp_path / "labels.txt"))


@pytest.mark.parametrize("source", ["labels.txt", "bus"])
def test_a_missing_file_is_not_taken_for_a_name(source: str) -> None:
    """A single word that is not a file is an error, not a list of names."""
    with pytest.raises(ModelError, match=f"no file or folder '{source}'"):
        read_labels(source)


@pytest.mark.parametrize("text", ["", "bus,,car", ","])
def test_an_empty_name_is_explained(text: str) -> None:
    """A list with an empty name is an error."""
    with pytest.raises(ModelError, match="name every class"):
        read_labels(text)

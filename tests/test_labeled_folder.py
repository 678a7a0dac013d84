"""The one reader of labeled folders."""

import hashlib
from pathlib import Path

import pytest

from src.checkpoints.labels import read_labels
from src.errors import ModelError
from src.evaluation.accuracy import images
from src.labeled_folder import class_folders, fingerprint, image_files, read_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, and what programs leave behind: hidden folders and files, here and there."""
    for name in (
        "bus/a.jpg",
        "bus/deep/b.jpg",
        "bus/.thumbs/c.jpg",
        "car/.hidden.jpg",
        "car/d.jpg",
        ".ipynb_checkpoints/e.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    return tmp_path


def test_hidden_files_and_folders_are_passed_over(folder: Path) -> None:
    """Labels, training and checking see the same classes and files: none that is hidden, nor lies in what is."""
    assert [entry.name for entry in class_folders(folder)] == ["bus", "car"]
    assert [file.relative_to(folder).as_posix() for file in image_files(folder / "bus")] == [
        "bus/a.jpg",
        "bus/deep/b.jpg",
    ]
    assert [label for label, _ in images(folder)] == ["bus", "bus", "car"]
    assert read_labels(str(folder)) == ("bus", "car")


def test_a_missing_folder_is_explained(tmp_path: Path) -> None:
    """A folder that does not exist, and a file in its place, are errors that say what to give."""
    with pytest.raises(ModelError, match=r"There is no folder .*nowhere: name one that has a folder of images"):
        class_folders(tmp_path / "nowhere")
    (tmp_path / "labels.csv").touch()  # a CSV to check a model on that gives one class to each image
    with pytest.raises(ModelError, match=r"labels\.csv is not a folder: name one that has a folder of images"):
        class_folders(tmp_path / "labels.csv")


def test_a_fingerprint_says_which_images_whatever_they_are_called(tmp_path: Path) -> None:
    """Names, folders and their order do not matter; contents do."""
    contents = {"a/1.png": b"one", "a/2.png": b"two", "b/0.png": b"one"}
    files = [tmp_path / name for name in contents]
    for file, content in zip(files, contents.values(), strict=True):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    before = fingerprint(files)
    digests = sorted(hashlib.sha256(content).digest() for content in contents.values())
    assert before == hashlib.sha256(b"".join(digests)).hexdigest()
    files[0] = files[0].rename(tmp_path / "b" / "9.png")
    assert fingerprint(reversed(files)) == before
    assert fingerprint([*files, tmp_path / "missing.png", tmp_path]) == before
    files[0].write_bytes(b"three")
    assert fingerprint(files) != before


def test_spaces_after_commas_are_not_part_of_a_name(tmp_path: Path) -> None:
    """Names of classes are stripped in the CSV of labels, as the zeros and ones are."""
    (tmp_path / "labels.csv").write_text("image, cat, big dog\na.jpg, 1, 0\n", encoding="utf-8")
    table = read_table(tmp_path / "labels.csv")
    assert (table.labels, table.rows[0][1]) == (("cat", "big dog"), (True, False))

"""The one reader of labelled folders."""

from pathlib import Path

import pytest

from src.checkpoints.labels import read_labels
from src.errors import ModelError
from src.evaluation.accuracy import images
from src.labelled_folder import class_folders, image_files


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
    """A folder that does not exist is an error that says what to give."""
    with pytest.raises(ModelError, match=r"There is no folder .*nowhere: give one that has a folder of images"):
        class_folders(tmp_path / "nowhere")

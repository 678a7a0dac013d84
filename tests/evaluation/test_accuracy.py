"""Checking a model on labeled images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.errors import ModelError
from src.evaluation.accuracy import Evaluation, evaluate, save_plot
from src.evaluation.observations import Observations, observe
from tests.files import saved
from tests.test_pipeline import red_pipeline

RED, BLUE = (230, 30, 30), (30, 30, 230)


def image(color: tuple[int, int, int]) -> bytes:
    """Return an image of one color."""
    return saved(Image.new("RGB", (120, 120), color))


def dataset(folder: Path, **classes: list[bytes]) -> Path:
    """Return ``folder``, filled with one folder of files per class."""
    for name, files in classes.items():
        (folder / name).mkdir()
        for index, data in enumerate(files):
            (folder / name / f"{index}.png").write_bytes(data)
    return folder


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_right_and_wrong_answers_are_counted(tmp_path: Path) -> None:
    """Accuracy, recall and confusion match the images; files that cannot be decoded are named and not counted."""
    folder = dataset(tmp_path, red=[image(RED)] * 3 + [image(BLUE)], blue=[image(BLUE)] * 2 + [b"no image", image(RED)])
    evaluation = evaluate(red_pipeline(), folder)
    assert evaluation.classes == ("blue", "red")
    np.testing.assert_array_equal(evaluation.confusion, [[2, 1, 0], [1, 3, 0]])
    assert (evaluation.right, evaluation.total, evaluation.accuracy) == (5, 7, 5 / 7)
    assert evaluation.recall == {"blue": 2 / 3, "red": 3 / 4}
    assert evaluation.skipped == ("blue/2.png",)
    assert evaluation.figures() == {
        "images": 7,
        "accuracy": 5 / 7,
        "recall": {"blue": 2 / 3, "red": 3 / 4},
        "confusion": {"classes": ["blue", "red"], "counts": [[2, 1, 0], [1, 3, 0]]},
    }
    table = evaluation.table()
    for part in ("5 of 7 right: 71.43%", "66.67%", "75.00%", "blue/2.png"):
        assert part in table


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_files_are_observed_as_the_network_sees_them(tmp_path: Path) -> None:
    """Logits and pooled features keep the order of the files; the places skip those that cannot be decoded."""
    folder = dataset(tmp_path, red=[image(RED), b"no image", image(BLUE)])
    files = sorted(folder.rglob("*.png"))
    observed = observe(red_pipeline(), files, folder)
    assert (observed.places, observed.skipped) == ((0, 2), (files[1],))
    assert observed.features.shape == (2, 2)
    np.testing.assert_array_equal(observed.logits.argmax(axis=1), [0, 1])
    np.testing.assert_allclose(observed.logits, 10 * observed.features, rtol=1e-5)
    np.testing.assert_array_equal(observed.others({observed.digests[1]}), [True, False])


def test_a_folder_may_omit_classes(tmp_path: Path) -> None:
    """Images that are recognized as an omitted class are counted as other."""
    evaluation = evaluate(red_pipeline(), dataset(tmp_path, red=[image(RED), image(BLUE)]))
    np.testing.assert_array_equal(evaluation.confusion, [[1, 1]])


@pytest.mark.parametrize(
    ("classes", "message"),
    [({}, "no images"), ({"red": []}, "no images"), ({"green": [b""]}, "no class 'green'")],
    ids=["empty", "no files", "unknown class"],
)
def test_a_folder_that_cannot_be_checked_is_explained(
    classes: dict[str, list[bytes]], message: str, tmp_path: Path
) -> None:
    """A folder without images or with a class unknown to the model is an error."""
    with pytest.raises(ModelError, match=message):
        evaluate(red_pipeline(), dataset(tmp_path, **classes))


def test_a_folder_without_readable_images_is_explained(tmp_path: Path) -> None:
    """A folder in which no image can be decoded is an error."""
    with pytest.raises(ModelError, match="none of its 1 images"):
        evaluate(red_pipeline(), dataset(tmp_path, red=[b"no image"]))


def test_the_confusion_is_plotted(tmp_path: Path) -> None:
    """The file is a large image that is not blank."""
    evaluation = evaluate(red_pipeline(), dataset(tmp_path, red=[image(RED)], blue=[image(RED)]))
    save_plot(evaluation, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as plot:
        assert min(plot.size) > 300
        assert len(set(plot.convert("L").get_flattened_data())) > 10


def _evaluation(*classes: str) -> Evaluation:
    """Return a check without any image."""
    count = len(classes)
    nothing = Observations((), np.zeros((0, count), np.float32), np.zeros((0, 2), np.float32), (), ())
    return Evaluation(classes, np.eye(count, count + 1, dtype=np.int64), (), np.zeros(0, np.int64), nothing)


def test_names_with_dollar_signs_are_no_formulas(tmp_path: Path) -> None:
    """Matplotlib would read what lies between them as one, and refuse some."""
    save_plot(_evaluation("$5_$10", "$10_$20"), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_the_plot_of_many_classes_is_not_wider_than_that_of_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the 1,000 classes of ImageNet, half an inch per class would take 14 GB of memory."""
    monkeypatch.setattr("src.evaluation.accuracy._WIDEST", 3)
    sizes = []
    for classes in (6, 20):
        save_plot(_evaluation(*map(str, range(classes))), tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as plot:
            sizes.append(plot.size)
    assert sizes[0] == sizes[1]

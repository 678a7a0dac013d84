"""Checking a multi-label model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.errors import ModelError
from src.evaluation.multilabel import MultilabelEvaluation, average_precision, best_threshold, evaluate_table
from src.evaluation.observations import Observations
from src.options import Options
from src.pipeline import Pipeline
from src.stages.output_spec import OutputSpec
from tests.files import saved
from tests.test_pipeline import red_pipeline

RED, BLUE, BLACK, VIOLET = (230, 30, 30), (30, 30, 230), (0, 0, 0), (200, 0, 200)


def multilabel_pipeline(thresholds: tuple[float, ...] | None = None) -> Pipeline:
    """Return the red network, whose logits are 0 without evidence, with a sigmoid for each of red and blue."""
    alike = red_pipeline()
    output = OutputSpec(kind="multilabel", thresholds=thresholds)
    return Pipeline(alike.manifest.model_copy(update={"output": output}), alike.runtime, alike.limits)


def table(folder: Path, text: str) -> Path:
    """Return a CSV of labels, with single-color images in the same folder."""
    for name, color in {"red": RED, "blue": BLUE, "black": BLACK}.items():
        Image.new("RGB", (96, 96), color).save(folder / f"{name}.png")
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder / "labels.csv"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_each_class_has_its_own_figures(tmp_path: Path) -> None:
    """Precision, recall and average precision of each class match its column, whatever the order of the columns."""
    (tmp_path / "broken.png").write_bytes(b"no image")
    text = "file,blue,red\nred.png,0,1\nblue.png,1,0\nblack.png,0,0\nred.png,1,1\nbroken.png,1,1\n"
    evaluation = evaluate_table(multilabel_pipeline(), table(tmp_path, text))
    assert evaluation.classes == ("red", "blue")
    figures = evaluation.figures()
    assert (figures["images"], figures["accuracy"]) == (4, 0.75)
    assert figures["recall"] == {"red": 1, "blue": 0.5}
    assert figures["precision"] == {"red": 1, "blue": 1}
    # blue: first the one image of it that is found, then all four, because the other three have the same score
    assert figures["average_precision"] == {"red": 1, "blue": 0.5 * 1 + 0.5 * 2 / 4}
    shown = evaluation.table()
    assert "75.00% of 4 images" in shown
    assert "broken.png" in shown


def test_images_that_cannot_be_read_may_lie_anywhere(tmp_path: Path) -> None:
    """A CSV may have absolute paths; those of skipped images are reported relative to its folder."""
    (tmp_path / "csv").mkdir()
    text = f"file,red,blue\nred.png,1,0\n{tmp_path / 'elsewhere.png'},0,1\n../missing.png,0,1\n"
    evaluation = evaluate_table(multilabel_pipeline(), table(tmp_path / "csv", text))
    assert evaluation.skipped == ("../elsewhere.png", "../missing.png")


def test_each_class_has_its_own_threshold() -> None:
    """A class counts as seen above its own threshold; the top classes do not depend on the thresholds."""
    black = saved(Image.new("RGB", (96, 96), BLACK))
    for thresholds, seen in ((None, ()), ((0.4, 0.5), ("red",)), ((0.4, 0.4), ("red", "blue"))):
        prediction = multilabel_pipeline(thresholds).recognize(black, Options(gradcam=False)).prediction
        assert prediction.seen == seen
        assert prediction.other is None
        assert [score.percent for score in prediction.top] == [50.0, 50.0]


@pytest.mark.parametrize("places", [0, 3])
def test_average_precision_matches_its_definition(places: int, rng: np.random.Generator) -> None:
    """It is the sum over every threshold of precision times the gain in recall, with and without ties."""
    scores = rng.uniform(0, 10, 60).round(places)
    targets = rng.random(60) < scores / 12
    expected, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = scores >= threshold
        recall = (targets & chosen).sum() / targets.sum()
        expected += (recall - before) * (targets & chosen).sum() / chosen.sum()
        before = recall
    assert average_precision(targets, scores) == pytest.approx(expected)


def test_the_best_threshold_has_the_best_f1(rng: np.random.Generator) -> None:
    """None of 400 thresholds has a better F1 than the chosen one; among equals, the nearest to 0.5 is chosen."""
    scores = rng.random(50).round(2)
    targets = rng.random(50) < scores**2

    def quality(threshold: float) -> float:
        seen = [score > threshold for score in scores]
        hits = sum(one and other for one, other in zip(seen, targets, strict=True))
        misses = sum(one != other for one, other in zip(seen, targets, strict=True))
        return float(2 * hits / (2 * hits + misses))

    best = best_threshold(targets, scores)
    assert quality(best) == pytest.approx(max(quality(threshold / 400) for threshold in range(400)))
    assert best_threshold(np.array([False, True]), np.array([0.1, 0.9])) == 0.5


def test_the_best_threshold_of_many_images_is_found(rng: np.random.Generator) -> None:
    """Comparing each of 200,000 scores with each possible threshold would take 40 GB of memory."""
    scores = rng.permutation(np.linspace(0, 1, 200_000))
    assert best_threshold(scores > 0.7, scores) == pytest.approx(0.7, abs=1e-5)


def test_thresholds_are_learned_from_enough_images() -> None:
    """A class with ten images and ten others gets its own threshold; a class with fewer, or with copies, keeps 0.5."""
    percents = np.stack([np.repeat([10.0, 30.0], 10), np.repeat([10.0, 30.0], 10)], axis=1)
    targets = np.stack([np.repeat([False, True], 10), np.arange(20) == 19], axis=1)
    none, digests = np.zeros((20, 2), np.float32), tuple(bytes([number]) for number in range(20))

    def thresholds(digests: tuple[bytes, ...], learned_from: set[bytes]) -> tuple[float, ...]:
        observed = Observations(tuple(range(20)), none, none, digests, ())
        evaluation = MultilabelEvaluation(("red", "blue"), targets, percents > 50, percents, (), observed)
        return evaluation.thresholds(learned_from)

    assert thresholds(digests, set()) == pytest.approx((0.2, 0.5))
    assert thresholds(digests, {digests[0]}) == (0.5, 0.5)
    assert thresholds((*digests[:19], digests[18]), set()) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a CSV"),
        ("file,red,blue\n", "names no images"),
        ("file,red,blue\nred.png,1\n", r"image 1, 'red\.png', does not have a 0 or 1"),
        ("file,red,blue\nred.png,1,yes\n", "does not have a 0 or 1"),
        ("file,red,red\nred.png,1,1\n", "a class twice"),
        ("file,red,green\nred.png,1,1\n", "has the classes red, green, but the model has red, blue"),
        ("file,red,blue\nnowhere.png,1,1\n", "none of its 1 images"),
    ],
)
def test_a_table_that_cannot_be_checked_is_explained(text: str, message: str, tmp_path: Path) -> None:
    """The error says what is wrong with the CSV."""
    with pytest.raises(ModelError, match=message):
        evaluate_table(multilabel_pipeline(), table(tmp_path, text))


def test_a_folder_is_refused_for_a_multi_label_model(tmp_path: Path) -> None:
    """The error describes the CSV that is needed instead."""
    with pytest.raises(ModelError, match=r"first line is image,red,blue"):
        evaluate_table(multilabel_pipeline(), tmp_path)

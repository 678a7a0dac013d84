"""Measuring how a lower precision changes the answers."""

import gc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.evaluation.precision import Change, measure_change
from src.runtimes.base import Evaluation
from tests.test_pipeline import random_patch, red_pipeline


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Twelve images with red patches, and one file that is not an image."""
    (tmp_path / "red").mkdir()
    for index in range(12):
        Image.fromarray(random_patch(rng, 110).pixels).save(tmp_path / "red" / f"{index}.png")
    (tmp_path / "red" / "note.txt").write_text("no image")
    return tmp_path


def test_the_same_pipeline_changes_nothing(folder: Path) -> None:
    """A pipeline compared with itself has the same classes, probabilities and heatmaps; other files are skipped."""
    change = measure_change(red_pipeline(), red_pipeline(), folder)
    assert (change.images, change.same_class, change.probability) == (12, 1, 0)
    assert change.correlation == pytest.approx(1)
    assert change.error_fast == change.error_exact
    assert change.harmless
    assert "100.00% of 12 images get the same class" in str(change)


def test_files_that_cannot_be_read_are_skipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not end the check."""
    listed = [("red", folder / "red" / "missing.png"), ("red", folder / "red" / "0.png")]
    monkeypatch.setattr("src.evaluation.precision.images", lambda _: listed)
    assert measure_change(red_pipeline(), red_pipeline(), folder).images == 1


def test_features_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of thousands of images would fill the memory: only the current pair is kept."""

    def held() -> int:
        return sum(type(one) is Evaluation for one in gc.get_objects())

    counts: list[int] = []
    before = held()

    def counted(*_: object) -> float:
        counts.append(held())
        return 1.0

    monkeypatch.setattr("src.evaluation.precision._correlation", counted)
    measure_change(red_pipeline(), red_pipeline(), folder)
    assert len(counts) == 12
    assert max(counts) <= before + 4


@pytest.mark.parametrize(
    ("same", "error", "harmless"), [(1.0, 0.02, True), (0.995, 0.0209, True), (0.994, 0.01, False), (1.0, 0.022, False)]
)
def test_only_a_small_change_is_harmless(same: float, error: float, *, harmless: bool) -> None:
    """Half a percent of the classes may change, and the calibration error may grow by 0.001."""
    assert Change(400, same, 0.001, 1.0, error_exact=0.02, error_fast=error).harmless == harmless


def test_bf16_changes_a_little(folder: Path) -> None:
    """In bf16, the class stays the same and the probability changes slightly."""
    change = measure_change(red_pipeline(), red_pipeline(runtime="torch", precision="bf16"), folder)
    assert change.same_class == 1
    assert 0 < change.probability < 0.02
    assert change.correlation > 0.99

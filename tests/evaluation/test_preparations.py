"""Trying the usual preparations on a sample."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.errors import Remedy
from src.evaluation.preparations import cases, compare_preparations, usual_preparations
from src.pipeline import Pipeline
from src.stages.input_spec import InputSpec
from tests.evaluation.test_explanations import Unguarded
from tests.test_pipeline import red_pipeline


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Wide images: red ones have a red left end; a little blue in the middle makes every center crop blue."""
    rng = np.random.default_rng(0)
    for label in ("red", "blue"):
        (tmp_path / label).mkdir()
        for index in range(12):
            pixels = rng.integers(60, 90, (100, 300, 3), np.uint8)
            pixels[:, :80] = (250, 20, 20) if label == "red" else pixels[:, :80]
            pixels[40:50, 145:155] = (20, 20, 250)
            Image.fromarray(pixels).save(tmp_path / label / f"{index}.png")
    return tmp_path


def prepared(spec: InputSpec) -> Pipeline:
    """Return the red network with another preparation."""
    own = red_pipeline()
    return Pipeline(own.manifest.model_copy(update={"input": spec}), own.runtime, own.limits)


def test_a_better_preparation_is_found(folder: Path) -> None:
    """If the network needs the ends, which the crop cuts off, stretching is better for every red image."""
    manifest = red_pipeline().manifest
    found = compare_preparations(prepared, manifest.input, cases(manifest, folder))
    assert found.best is not None
    assert found.best.words == "stretched"
    assert found.best.remedies == (Remedy("resize", "96x96"), Remedy("crop", "96x96"))
    assert found.beyond_chance
    assert (found.images, found.points) == (24, 50)
    assert str(found) == "on 24 images, accuracy is 50 points higher if they are stretched"


def test_a_gain_that_may_be_chance_is_not_reported(folder: Path) -> None:
    """With three images of each class, the same difference may be chance, and no preparation is recommended."""
    for file in folder.rglob("*.png"):
        if int(file.stem) > 2:
            file.unlink()
    manifest = red_pipeline().manifest
    found = compare_preparations(prepared, manifest.input, cases(manifest, folder))
    assert found.points == 50
    assert not found.beyond_chance
    assert "no usual preparation is significantly better than this one" in str(found)


def test_an_image_without_finite_logits_is_not_recognized(folder: Path) -> None:
    """It counts as wrong, whatever the preparation, and the comparison goes on."""
    Image.new("RGB", (300, 100)).save(folder / "red" / "black.png")
    manifest = red_pipeline().manifest
    found = compare_preparations(lambda spec: Unguarded.of(prepared(spec)), manifest.input, cases(manifest, folder))
    assert (found.images, found.points) == (25, 48)


def test_the_usual_preparations_are_tried() -> None:
    """These are stretching, the shorter side, no Normalize, 0.5 and ImageNet's, except the model's own."""
    spec = InputSpec(resize=256, crop=(224, 224), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    tried = {one.words: one.input for one in usual_preparations(spec)}
    assert tried["stretched"].resize == (224, 224)
    assert tried["not normalized (mean 0, std 1)"].std == (1, 1, 1)
    assert tried["normalized with ImageNet's mean and std"].mean == (0.485, 0.456, 0.406)
    assert len(tried) == 3
    gray = spec.model_copy(update={"channels": 1, "mean": (0.1,), "std": (0.2,), "resize": (224, 224)})
    assert [len(one.input.mean) for one in usual_preparations(gray)] == [1, 1, 1]

"""How faithful the heatmaps of each method are, on images through the whole path."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from src.evaluation.explanations import Faithfulness, check_explanations
from src.evaluation.faithfulness import Measures, likeness, measure
from src.options import Method
from src.pipeline import heatmap
from tests.evaluation.test_accuracy import RED
from tests.test_pipeline import red_pipeline


def _files(folder: Path, count: int) -> list[Path]:
    """Write gray images with a red square, and one file that is no image; return them."""
    files = [folder / f"{index}.png" for index in range(count)]
    for index, file in enumerate(files):
        pixels = np.full((120, 120, 3), 90, np.uint8)
        pixels[20 + index : 60, 24:56] = RED
        Image.fromarray(pixels).save(file)
    (folder / "broken.png").write_bytes(b"no image")
    return [folder / "broken.png", *files]


def test_the_measures_are_those_of_the_heatmaps_that_are_served(tmp_path: Path) -> None:
    """For one image they are measured by hand; what cannot be decoded is passed over; a network is like itself."""
    pipeline, files = red_pipeline(), _files(tmp_path, 1)
    found = check_explanations(pipeline, pipeline, files)
    assert found is not None
    assert found.images == 1
    pixels = pipeline.pixels(files[1].read_bytes())
    evaluation = pipeline.runtime.evaluate(pixels)
    heat = heatmap(evaluation, Method.GRADCAM, 0).values

    def score(changed: NDArray[np.uint8]) -> float:
        logits = pipeline.runtime.evaluate(changed).logits.astype(np.float64)
        return float(1 / (1 + np.exp(logits[1] - logits[0])))

    expected = measure(score, pixels, heat, np.zeros(3, np.uint8), score(pixels))
    for method in (Method.GRADCAM, Method.HIRESCAM):  # which are the same here
        assert asdict(found.methods[method]) == pytest.approx(asdict(expected) | {"randomized": 1})


def test_a_check_ends_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that is too slow for all images the first few are measured."""
    monkeypatch.setattr("src.evaluation.explanations._FEWEST", 2)
    found = check_explanations(red_pipeline(), red_pipeline(), _files(tmp_path, 3), seconds=0)
    assert found is not None
    assert found.images == 2


def test_without_images_nothing_is_measured(tmp_path: Path) -> None:
    """There are no figures of images that cannot be decoded."""
    assert check_explanations(red_pipeline(), red_pipeline(), _files(tmp_path, 0)) is None


def test_the_best_method_has_the_best_mean_rank() -> None:
    """Deletion and drop rank from below, the others from above, random weights not at all; equals keep their order."""
    better = Measures(deletion=0.1, insertion=0.9, road=0.5, drop=0.1, increase=0.5, randomized=1.0)
    worse = Measures(deletion=0.2, insertion=0.8, road=0.4, drop=0.2, increase=0.4, randomized=0.0)
    methods = {Method.GRADCAM: worse, Method.HIRESCAM: better, Method.LAYERCAM: better}
    found = Faithfulness(5, methods)
    assert found.best is Method.HIRESCAM
    assert "of 5 images" in found.table()
    assert "hirescam is the best" in found.table()
    assert found.figures()["methods"]["layercam"]["deletion"] == 0.1
    assert (found.figures()["best"], found.figures()["images"]) == ("hirescam", 5)


def test_random_weights_leave_maps_alike_only_where_a_method_ignores_them(rng: np.random.Generator) -> None:
    """NaN, which a network with random weights may give, is like nothing."""
    heat = rng.random((5, 5), dtype=np.float32)
    assert likeness(heat, np.full_like(heat, np.nan)) == 0

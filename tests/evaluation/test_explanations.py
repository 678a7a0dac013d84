"""Measuring how faithful each method's heatmaps are, through the whole pipeline."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from src.evaluation.explanations import Faithfulness, check_explanations
from src.evaluation.faithfulness import Measures, likeness, measure
from src.options import Method
from src.pipeline import Pipeline, heatmap
from src.runtimes.base import Evaluation, Runtime
from tests.evaluation.test_accuracy import RED
from tests.test_pipeline import red_pipeline


def _files(folder: Path, count: int) -> list[Path]:
    """Write gray images with a red rectangle, and one file that is not an image; return them all."""
    files = [folder / f"{index}.png" for index in range(count)]
    for index, file in enumerate(files):
        pixels = np.full((120, 120, 3), 90, np.uint8)
        pixels[20 + index : 60, 24:56] = RED
        Image.fromarray(pixels).save(file)
    (folder / "broken.png").write_bytes(b"no image")
    return [folder / "broken.png", *files]


def test_the_served_heatmaps_are_measured(tmp_path: Path) -> None:
    """The measures of one image match a direct computation; broken files are skipped."""
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
    for method in (Method.GRADCAM, Method.HIRESCAM):  # the same for this network
        assert asdict(found.methods[method]) == pytest.approx(asdict(expected) | {"randomized": 1})


class Unguarded(Runtime):
    """A network that divides by the standard deviation of the image, so that one of a single color gives NaN."""

    def evaluate(self, pixels: NDArray[np.uint8]) -> Evaluation:
        """Evaluate the image."""
        found = Runtime.evaluate(self, pixels)
        return found if np.ptp(pixels) else replace(found, logits=found.logits * np.float32(np.nan))

    @classmethod
    def of(cls, pipeline: Pipeline) -> Pipeline:
        """Return the pipeline with such a network."""
        own = pipeline.runtime
        return replace(pipeline, runtime=cls(own.graphs, own.layout, own.closed_form))


def test_an_image_without_finite_logits_has_no_probability(tmp_path: Path) -> None:
    """When all is deleted, the image has a single color: its probability counts as 0, and every figure is finite."""
    pipeline = red_pipeline()
    found = check_explanations(Unguarded.of(pipeline), pipeline, _files(tmp_path, 1))
    assert found is not None
    assert all(np.isfinite(list(asdict(one).values())).all() for one in found.methods.values())


def test_missing_files_are_skipped(tmp_path: Path) -> None:
    """A CSV of labels may name files that do not exist."""
    found = check_explanations(red_pipeline(), red_pipeline(), [tmp_path / "missing.png", *_files(tmp_path, 1)])
    assert found is not None
    assert found.images == 1


def test_a_check_ends_when_its_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the network is too slow for all images, the first few are measured."""
    monkeypatch.setattr("src.evaluation.explanations._FEWEST", 2)
    found = check_explanations(red_pipeline(), red_pipeline(), _files(tmp_path, 3), seconds=0)
    assert found is not None
    assert found.images == 2


def test_without_images_nothing_is_measured(tmp_path: Path) -> None:
    """If no image can be decoded, there are no figures."""
    assert check_explanations(red_pipeline(), red_pipeline(), _files(tmp_path, 0)) is None


def test_the_best_method_has_the_best_mean_rank() -> None:
    """Deletion and drop rank ascending, the others descending; ``randomized`` is ignored; the first one wins a tie."""
    better = Measures(deletion=0.1, insertion=0.9, road=0.5, drop=0.1, increase=0.5, randomized=1.0)
    worse = Measures(deletion=0.2, insertion=0.8, road=0.4, drop=0.2, increase=0.4, randomized=0.0)
    methods = {Method.GRADCAM: worse, Method.HIRESCAM: better, Method.LAYERCAM: better}
    found = Faithfulness(5, methods)
    assert found.best is Method.HIRESCAM
    assert "of 5 images" in found.table()
    assert "hirescam is the best" in found.table()
    assert found.figures()["methods"]["layercam"]["deletion"] == 0.1
    assert (found.figures()["best"], found.figures()["images"]) == ("hirescam", 5)


def test_a_heatmap_of_nan_has_no_likeness(rng: np.random.Generator) -> None:
    """A network with random weights may return NaN; its rank correlation counts as 0."""
    heat = rng.random((5, 5), dtype=np.float32)
    assert likeness(heat, np.full_like(heat, np.nan)) == 0

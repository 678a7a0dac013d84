"""Models stored by earlier versions stay servable: there is a tiny one of each layout of the manifest."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from src.runtimes.select import start
from src.store.files import checked_manifest
from src.store.manifest import SCHEMA_VERSION, RuntimeName

HERE = Path(__file__).parent


def test_a_model_of_every_layout_is_kept() -> None:
    """The stored layouts range from the first supported one, 3, to the current one."""
    kept = sorted(folder.name for folder in HERE.glob("layout_*"))
    assert kept == [f"layout_{number}" for number in range(3, SCHEMA_VERSION + 1)]


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
@pytest.mark.parametrize("layout", sorted(HERE.glob("layout_*")), ids=lambda folder: folder.name)
def test_a_model_of_every_layout_is_served(layout: Path, runtime: RuntimeName, tmp_path: Path) -> None:
    """In each runtime it returns the scores, weights and gradient that it returned when it was stored."""
    folder = tmp_path / "model"
    shutil.copytree(layout, folder)
    manifest = checked_manifest(folder)
    assert (manifest.labels, manifest.layer, manifest.output.kind) == (("bus", "car"), "1", "softmax")
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    evaluation = start(folder, manifest, threads=1, device="cpu", runtime=runtime).evaluate(pixels)
    np.testing.assert_allclose(evaluation.logits, [-0.80871552, 0.15186127], atol=1e-5)
    np.testing.assert_allclose(evaluation.weights(0), [-0.1563935, 0.22709298, -0.00053954, -0.07015994], atol=1e-5)
    np.testing.assert_allclose(evaluation.gradient(1)[0, 0], 4 * [0.11690276], atol=1e-5)

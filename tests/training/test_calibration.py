"""Calibration at the end of a training run, of a tiny network on noise."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.calibration.familiarity import distances, fit_familiarity
from src.calibration.temperature import fit_temperature
from src.checkpoints.carried import KEY, Carried, read_carried
from src.checkpoints.network import build
from src.stages.input_spec import InputSpec
from src.stages.output_spec import OutputSpec
from src.training.calibration import calibrate_checkpoint
from src.training.dataset import LabeledImage, Split

SPEC = InputSpec(resize=96, crop=(96, 96), interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
BEFORE = Carried(SPEC, OutputSpec(), frozenset({bytes(32)}))


def images(rng: np.random.Generator, count: int) -> tuple[LabeledImage, ...]:
    """Return noise images, alternately in shades of blue and red."""
    colors = np.array([[60, 60, 190], [190, 60, 60]])
    pixels = (colors[index % 2] + rng.normal(0, 30, (96, 96, 3)) for index in range(count))
    rasters = [Image.fromarray(values.clip(0, 255).astype(np.uint8)) for values in pixels]
    return tuple(LabeledImage(Path(), i % 2, raster, str(rng.random()), b"") for i, raster in enumerate(rasters))


@dataclass(frozen=True)
class Run:
    """The parts of a training run: a network, images and a checkpoint."""

    network: torch.nn.Module
    split: Split
    file: Path

    def calibrate(self) -> tuple[str, ...]:
        """Calibrate the checkpoint; return the report lines."""
        with ThreadPoolExecutor(2) as pool:
            return calibrate_checkpoint(self.file, self.network, self.split, BEFORE, pool)


@pytest.fixture
def run(rng: np.random.Generator, tmp_path: Path) -> Run:
    """A tiny network with random weights, 40 training images and 60 validation images."""
    torch.manual_seed(0)
    network = build("timm/test_resnet", 2).eval()
    torch.save({"state_dict": network.state_dict(), "epoch": 1, KEY: BEFORE.plain()}, tmp_path / "best.ckpt")
    return Run(network, Split(images(rng, 40), images(rng, 60)), tmp_path / "best.ckpt")


def test_the_calibration_is_added_to_the_checkpoint(run: Run) -> None:
    """The temperature is that of the validation images, familiarity that of the training images; the rest is kept."""
    said = "\n".join(run.calibrate())
    assert "of 60 images are right" in said
    content = torch.load(run.file, weights_only=True)
    assert set(content) == {"state_dict", "epoch", KEY}
    carried = read_carried(content)
    assert carried is not None
    assert (carried.input, carried.learned_from) == (BEFORE.input, BEFORE.learned_from)
    seen = {}
    for part in ("training", "validation"):
        pixels = np.stack([SPEC.normalize(np.asarray(image.raster)) for image in getattr(run.split, part)])
        with torch.no_grad():
            features = run.network.forward_features(torch.from_numpy(pixels))  # type: ignore[operator]
            seen[part] = features.mean(dim=(2, 3)).numpy(), run.network.forward_head(features).numpy()  # type: ignore[operator]
    targets = np.arange(60) % 2
    assert carried.output.temperature == pytest.approx(fit_temperature(seen["validation"][1], targets), rel=1e-3)
    assert carried.learned is not None
    assert carried.learned.familiarity is not None
    assert carried.familiarity is not None
    assert (carried.learned.source, carried.learned.images, carried.learned.familiarity.images) == ("training", 60, 40)
    expected = fit_familiarity(seen["training"][0], targets[:40], 2)
    held_back = seen["validation"][0]
    np.testing.assert_allclose(distances(carried.familiarity, held_back), distances(expected, held_back), rtol=1e-2)
    assert carried.learned.familiarity.threshold == pytest.approx(distances(expected, held_back).max(), rel=1e-2)


def test_fewer_than_fifty_images_leave_the_checkpoint_unchanged(run: Run, rng: np.random.Generator) -> None:
    """Equal images count once; the report says why the network is not calibrated."""
    few = images(rng, 49)
    before = run.file.read_bytes()
    said = Run(run.network, Split(run.split.training, few + few), run.file).calibrate()
    assert said == ("calibration   needs 50 different validation images, not 49",)
    assert run.file.read_bytes() == before


def test_a_network_that_cannot_be_captured_is_not_calibrated(run: Run) -> None:
    """The checkpoint is kept, and the report says why it is not calibrated."""

    class Undecided(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :2, 0, 0] if images.sum() > 0 else images[:, 1:, 0, 0]

    (said,) = Run(Undecided(), run.split, run.file).calibrate()
    assert said.startswith("calibration   none: This network cannot be captured")


def test_copies_of_a_training_image_count_once(run: Run, rng: np.random.Generator) -> None:
    """Nine images of each class, each ten times, do not teach which images are familiar: the held-out ones do."""
    run = replace(run, split=Split(images(rng, 18) * 10, run.split.validation))
    run.calibrate()
    carried = read_carried(torch.load(run.file, weights_only=True))
    assert carried is not None
    assert carried.learned is not None
    assert carried.learned.familiarity is not None
    assert carried.learned.familiarity.images == 60

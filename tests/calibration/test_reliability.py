"""The reliability diagram."""

from pathlib import Path

import numpy as np
from PIL import Image

from src.calibration.reliability import save_diagram


def test_the_diagram_is_drawn(tmp_path: Path, rng: np.random.Generator) -> None:
    """The file is a large image that is not blank, even if some ranges have no images."""
    logits = np.column_stack([rng.normal(2, 1, 80), np.zeros(80)]).astype(np.float32)
    save_diagram(logits, logits / np.float32(2), rng.integers(0, 2, 80), tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as plot:
        assert min(plot.size) > 500
        assert len(set(plot.convert("L").get_flattened_data())) > 20

"""The tutorial's handler answers correctly, which makes it a fair rival."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.benchmarks.naive import NaiveHandler
from tests.benchmarks.networks import TORCH_THREADS
from tests.benchmarks.photos import SMALL, make_photos


def test_the_naive_handler_recognizes_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds the cat, its percentages sum to 100, and it returns a PNG with a heatmap."""
    monkeypatch.setenv(TORCH_THREADS, "1")
    cat = make_photos(SMALL).files[0]
    answer = NaiveHandler().answer(base64.b64encode(cat).decode())
    assert "cat" in answer["result"]
    assert sum(map(float, answer["detail"].values())) == pytest.approx(100)
    image = _decoded(base64.b64decode(answer["gradcam"]))
    assert image.format == "PNG"
    assert np.abs(np.asarray(image, float) - np.asarray(_decoded(cat), float)).mean() > 10


def _decoded(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))

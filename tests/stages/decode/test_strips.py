"""Large images in strips."""

import numpy as np
import pytest
from PIL import Image

from src.stages.decode import strips as module
from src.stages.decode.rgb import as_rgb
from src.stages.decode.strips import by_bands, strips


def image(width: int, height: int, mode: str = "RGBA") -> Image.Image:
    """Return noise."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)).convert(mode)


@pytest.mark.parametrize("size", [(7, 50), (50, 7), (100, 1), (1, 100), (1, 1)])
def test_strips_cover_the_image(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    """The strips, one below the other, are the whole image."""
    monkeypatch.setattr(module, "_PIXELS", 30)
    whole, again = image(*size), Image.new("RGBA", size)
    for top, strip in strips(whole):
        again.paste(strip, (0, top))
        assert strip.height * strip.width <= 30 or strip.height == 1
    assert again.tobytes() == whole.tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "CMYK", "1", "YCbCr"])
@pytest.mark.parametrize("turn", [None, *Image.Transpose])
def test_an_image_in_bands_is_the_same(
    monkeypatch: pytest.MonkeyPatch, mode: str, turn: Image.Transpose | None
) -> None:
    """Converted and turned in strips and bands, an image is what it is converted and turned as a whole."""
    monkeypatch.setattr(module, "_PIXELS", 100)
    whole = image(23, 37, mode)
    expected = as_rgb(whole.copy())
    expected = expected if turn is None else expected.transpose(turn)
    result = by_bands(whole, as_rgb, turn)
    assert (result.mode, result.size) == ("RGB", expected.size)
    assert result.tobytes() == expected.tobytes()

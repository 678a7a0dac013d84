"""The heatmap on the image, pixel by pixel."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from src.options import Colormap, ImageFormat, Options
from src.stages.decoded_image import Box, DecodedImage
from src.stages.render import canvas, encode, overlay

GREY = 100


def _image(width: int, height: int) -> DecodedImage:
    return DecodedImage(Image.new("RGB", (width, height), (GREY, GREY, GREY)), width, height)


def _drawn(image: DecodedImage, heat: NDArray[np.float32], box: Box, options: Options) -> NDArray[np.uint8]:
    return overlay(canvas(image, box, options.max_side), heat, options)


def test_the_returned_image_is_srgb() -> None:
    """An image with a color profile is converted before the heatmap is drawn."""
    image = DecodedImage(Image.new("RGB", (8, 6), "white"), 8, 6, lambda part: part.point(lambda _: GREY))
    assert (_drawn(image, np.zeros((2, 2), np.float32), Box(2, 1, 6, 5), Options()) == GREY).all()
    heated = _drawn(image, np.ones((2, 2), np.float32), Box(2, 4, 6, 6), Options(max_side=4))
    assert (heated[0] == GREY).all()


def _color(colormap: Colormap, level: int) -> NDArray[np.uint8]:
    """Color of ``level`` in red, green, blue, straight from OpenCV's table of that name."""
    table = getattr(cv2, f"COLORMAP_{colormap.name}")
    return np.asarray(cv2.applyColorMap(np.full((1, 1), level, np.uint8), table)[0, 0, ::-1])


@pytest.mark.parametrize("colormap", Colormap)
def test_the_blend_is_exact(colormap: Colormap) -> None:
    """Inside the box a pixel is (1 - alpha) * image + alpha * color; outside it is unchanged."""
    heat = np.ones((2, 2), np.float32)
    drawn = _drawn(_image(8, 6), heat, Box(2, 1, 6, 5), Options(colormap=colormap, alpha=0.25))
    expected = np.full((6, 8, 3), GREY)
    expected[1:5, 2:6] = np.rint(0.75 * GREY + 0.25 * _color(colormap, 255))
    assert np.abs(drawn - expected).max() <= 1
    assert (drawn[0] == GREY).all()
    assert (drawn[:, :2] == GREY).all()


@given(st.data(), st.integers(1, 90), st.integers(1, 90), st.integers(1, 120))
def test_the_heatmap_covers_the_pixels_of_the_box(data: st.DataObject, width: int, height: int, max_side: int) -> None:
    """Wherever the box is, exactly the pixels whose centers are inside it are drawn on, at least one."""
    sides = [sorted(data.draw(st.tuples(st.floats(0, side), st.floats(0, side)))) for side in (width, height)]
    (x0, x1), (y0, y1) = ((start, max(stop, start + 1e-3)) for start, stop in sides)
    options = Options(alpha=1, colormap=Colormap.HOT, max_side=max_side)
    drawn = _drawn(_image(width, height), np.ones((3, 2), np.float32), Box(x0, y0, x1, y1), options)
    rows, columns = drawn.shape[:2]
    assert max(rows, columns) == min(max_side, max(width, height))
    box = Box(x0, y0, x1, y1).scaled(columns / width, rows / height)
    hot = (drawn != GREY).any(axis=2)
    assert hot.any()
    for cells, start, stop in ((hot.any(axis=0), box.x0, box.x1), (hot.any(axis=1), box.y0, box.y1)):
        inside = np.flatnonzero(cells)
        assert len(inside) == inside[-1] - inside[0] + 1
        centers = np.arange(len(cells)) + 0.5
        assert cells[(centers > start + 1e-6) & (centers < stop - 1e-6)].all()
        assert len(inside) == 1 or not cells[(centers < start - 1e-6) | (centers > stop + 1e-6)].any()


def test_no_evidence_draws_nothing() -> None:
    """An all-zero map leaves the image unchanged, including the box."""
    drawn = _drawn(_image(8, 6), np.zeros((2, 2), np.float32), Box(0, 0, 8, 6), Options())
    assert (drawn == GREY).all()


@pytest.mark.parametrize(("alpha", "level"), [(0.0, None), (1.0, 255)])
def test_alpha_ranges_from_image_to_heatmap(alpha: float, level: int | None) -> None:
    """Alpha 0 shows only the image, alpha 1 only the heatmap."""
    drawn = _drawn(_image(4, 4), np.ones((1, 1), np.float32), Box(0, 0, 4, 4), Options(alpha=alpha))
    expected = np.full(3, GREY) if level is None else _color(Colormap.JET, level)
    assert (drawn == expected).all()


def test_the_heatmap_is_interpolated_between_cell_centers() -> None:
    """Between the centers of two cells the heat is linear; beyond the outermost centers it is constant."""
    heat = np.array([[0, 1]], np.float32)
    drawn = _drawn(_image(8, 1), heat, Box(0, 0, 8, 1), Options(alpha=1, colormap=Colormap.VIRIDIS))[0]
    levels = np.rint(np.array([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]) * 255).astype(int)
    np.testing.assert_array_equal(drawn, [_color(Colormap.VIRIDIS, level) for level in levels])


@pytest.mark.parametrize(("shape", "size"), [((7, 7), (224, 224)), ((13, 13), (300, 120)), ((5, 9), (40, 77))], ids=str)
def test_equals_opencvs_resize(shape: tuple[int, int], size: tuple[int, int], rng: np.random.Generator) -> None:
    """Over a whole image, the interpolation equals OpenCV's bilinear resize, which also has half-pixel centers."""
    heat = rng.random(shape, np.float32)
    options = Options(alpha=1, colormap=Colormap.CIVIDIS)
    drawn = _drawn(_image(*size), heat, Box(0, 0, *size), options).astype(int)
    levels = np.rint(cv2.resize(heat, size) * 255).astype(np.uint8)
    reference = cv2.applyColorMap(levels, cv2.COLORMAP_CIVIDIS)[..., ::-1]
    assert np.abs(drawn - reference).max() <= 3  # one level of heat is up to three steps of color


def test_a_box_may_end_within_a_pixel() -> None:
    """Such a box covers the pixels whose centers are inside it."""
    options = Options(alpha=1)
    drawn = _drawn(_image(10, 1), np.ones((1, 1), np.float32), Box(2.6, 0, 7.4, 1), options)[0]
    assert [bool((pixel != GREY).any()) for pixel in drawn] == [False] * 3 + [True] * 4 + [False] * 3


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [((400, 200), 100, (100, 50)), ((200, 400), 100, (50, 100)), ((80, 40), 100, (80, 40)), ((3000, 2), 30, (30, 1))],
    ids=str,
)
@pytest.mark.parametrize("heat", [0.0, 1.0])
def test_the_image_is_reduced_but_never_enlarged(
    size: tuple[int, int], max_side: int, expected: tuple[int, int], heat: float
) -> None:
    """The longest side becomes max_side where it was longer; the box shrinks along."""
    drawn = _drawn(_image(*size), np.full((1, 1), heat, np.float32), Box(0, 0, *size), Options(max_side=max_side))
    assert drawn.shape == (expected[1], expected[0], 3)
    assert bool((drawn != GREY).any()) == bool(heat)


def test_the_input_image_is_not_modified() -> None:
    """Drawing does not modify the input image."""
    image = _image(8, 8)
    _drawn(image, np.ones((1, 1), np.float32), Box(0, 0, 8, 8), Options())
    assert (np.asarray(image.raster) == GREY).all()


@pytest.mark.parametrize("image_format", ImageFormat)
def test_encoding_keeps_the_image_and_no_metadata(image_format: ImageFormat) -> None:
    """The encoded image decodes to the same image, in the requested format, without the input's metadata."""
    image = _image(64, 48)
    image.raster.info.update({"comment": b"secret", "exif": b"Exif\0\0secret", "icc_profile": b"secret"})
    data = encode(_drawn(image, np.ones((1, 1), np.float32), Box(0, 0, 4, 4), Options()), image_format)
    decoded = Image.open(BytesIO(data))
    assert decoded.format == image_format.name
    assert decoded.size == (64, 48)
    assert b"secret" not in data
    assert np.abs(np.asarray(decoded.convert("RGB"))[32:, 32:].astype(int) - GREY).max() <= 2

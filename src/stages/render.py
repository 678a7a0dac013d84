"""Image, heatmap and box -> picture with the heat on it, as bytes."""

from io import BytesIO
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src.geometry import Box
from src.options import Colormap, ImageFormat, Options

__all__ = ["encode", "overlay"]

_COLORMAPS: Final = {
    Colormap.JET: cv2.COLORMAP_JET,
    Colormap.TURBO: cv2.COLORMAP_TURBO,
    Colormap.VIRIDIS: cv2.COLORMAP_VIRIDIS,
    Colormap.INFERNO: cv2.COLORMAP_INFERNO,
    Colormap.MAGMA: cv2.COLORMAP_MAGMA,
    Colormap.PLASMA: cv2.COLORMAP_PLASMA,
    Colormap.CIVIDIS: cv2.COLORMAP_CIVIDIS,
    Colormap.HOT: cv2.COLORMAP_HOT,
}
_SAVE_OPTIONS: Final[dict[ImageFormat, dict[str, int]]] = {
    ImageFormat.JPEG: {"quality": 90},
    ImageFormat.PNG: {"compress_level": 1},
    ImageFormat.WEBP: {"quality": 90, "method": 2},
}


def overlay(image: Image.Image, heat: NDArray[np.float32], box: Box, options: Options) -> Image.Image:
    """Return ``image`` with the heat on the part that the network saw, reduced to ``max_side`` but never enlarged.

    Inside the box: ``(1 - alpha) * picture + alpha * colormap(heat)``. Outside it, and everywhere if the map is all
    zero, the picture stays as it is.

    Args:
        image: Upright RGB image; it is not changed.
        heat: (h, w) in [0, 1], spread evenly over ``box``.
        box: The part of ``image`` that the network saw.
        options: ``colormap``, ``alpha`` and ``max_side`` of the request.
    """
    small = _reduced(image, options.max_side)
    if not heat.any():
        return small
    box = box.scaled(small.width / image.width, small.height / image.height)
    left, right = _covered(box.x0, box.x1, small.width)
    top, bottom = _covered(box.y0, box.y1, small.height)
    rows = _interpolation(heat.shape[0], box.y0, box.y1, top, bottom)
    columns = _interpolation(heat.shape[1], box.x0, box.x1, left, right)
    levels = np.rint(rows @ heat @ columns.T * np.float32(255)).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, _COLORMAPS[options.colormap]), cv2.COLOR_BGR2RGB)
    pixels = np.array(small)
    seen = pixels[top:bottom, left:right]
    seen[:] = cv2.addWeighted(seen, 1 - options.alpha, colours, options.alpha, 0)
    return Image.fromarray(pixels)


def encode(image: Image.Image, image_format: ImageFormat) -> bytes:
    """Return ``image`` as the bytes of a JPEG, PNG or WebP file without metadata."""
    buffer = BytesIO()
    image.save(buffer, image_format.value, **_SAVE_OPTIONS[image_format])
    return buffer.getvalue()


def _reduced(image: Image.Image, max_side: int) -> Image.Image:
    if max_side >= max(image.size):
        return image
    factor = max_side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _covered(start: float, stop: float, size: int) -> tuple[int, int]:
    """Return the half-open range of the pixels whose centres lie in [start, stop), at least one."""
    first = min(max(round(start), 0), size - 1)
    return first, max(first + 1, min(round(stop), size))


def _interpolation(cells: int, start: float, stop: float, first: int, last: int) -> NDArray[np.float32]:
    """Return the (last - first, cells) matrix that interpolates linearly between ``cells`` values over [start, stop).

    The value of a cell sits at its centre, that of a pixel too; beyond the outermost centres it stays constant.
    """
    centres = (np.arange(first, last) + 0.5 - start) / (stop - start) * cells - 0.5
    distance = np.abs(np.clip(centres, 0, cells - 1)[:, None] - np.arange(cells))
    weights: NDArray[np.float32] = np.clip(1 - distance, 0, 1).astype(np.float32)
    return weights

"""Reduce an image to the size that is returned, draw a heatmap on its box, and encode the result."""

from dataclasses import dataclass
from io import BytesIO
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src.options import Colormap, ImageFormat, Options
from src.stages.decoded_image import Box, DecodedImage
from src.stages.raster import raster_over
from src.stages.resize import resized

__all__ = ["COLORS", "Canvas", "canvas", "encode", "overlay"]

cv2.setNumThreads(1)  # one thread per image: the other cores process other images

_LEVELS: Final = np.arange(256, dtype=np.uint8)[:, None]
# The color of each level, (256, 1, 3), in the order red, green, blue: OpenCV has color maps of the same names.
COLORS: Final = {
    colormap: np.ascontiguousarray(cv2.applyColorMap(_LEVELS, getattr(cv2, f"COLORMAP_{colormap.name}"))[:, :, ::-1])
    for colormap in Colormap
}
_JPEG_OPTIONS: Final = (cv2.IMWRITE_JPEG_QUALITY, 90)
_SAVE_OPTIONS: Final[dict[ImageFormat, dict[str, int]]] = {
    ImageFormat.PNG: {"compress_level": 1},
    ImageFormat.WEBP: {"quality": 90, "method": 2},
}


@dataclass(frozen=True, slots=True)
class Canvas:
    """The pixels (height, width, 3) on which a heatmap is drawn; ``box`` is the part of them that the network saw."""

    pixels: NDArray[np.uint8]
    box: Box


def canvas(image: DecodedImage, box: Box, max_side: int) -> Canvas:
    """Return a copy of ``image``, reduced to ``max_side`` but never enlarged, and ``box`` at its size."""
    pixels = _reduced(image, max_side)
    height, width, _ = pixels.shape
    return Canvas(pixels, box.scaled(width / image.width, height / image.height))


def overlay(canvas: Canvas, heat: NDArray[np.float32], options: Options) -> NDArray[np.uint8]:
    """Draw the heatmap on the part of the ``canvas`` that the network saw; return its pixels.

    Inside the box: ``(1 - alpha) * image + alpha * colormap(heat)``. Outside it, and everywhere if the map is all zero,
    the image is unchanged.

    Args:
        canvas: It is modified.
        heat: (h, w) in [0, 1], spread evenly over the box.
        options: ``colormap`` and ``alpha`` of the request.
    """
    pixels, box = canvas.pixels, canvas.box
    if not heat.any():
        return pixels
    height, width, _ = pixels.shape
    left, right = _covered(box.x0, box.x1, width)
    top, bottom = _covered(box.y0, box.y1, height)
    rows = _interpolation(heat.shape[0], box.y0, box.y1, top, bottom)
    columns = _interpolation(heat.shape[1], box.x0, box.x1, left, right)
    levels = cv2.convertScaleAbs((rows * np.float32(255)) @ heat @ columns.T)
    colors = cv2.applyColorMap(levels, COLORS[options.colormap])
    seen = pixels[top:bottom, left:right]
    cv2.addWeighted(seen, 1 - options.alpha, colors, options.alpha, 0, dst=seen)
    return pixels


def encode(pixels: NDArray[np.uint8], image_format: ImageFormat) -> bytes:
    """Return ``pixels`` (height, width, 3) as the bytes of a JPEG, PNG or WebP file without metadata."""
    if image_format is ImageFormat.JPEG:  # same bytes as Pillow, without its copy of the image
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), _JPEG_OPTIONS)
        return encoded.tobytes()
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, image_format.value, **_SAVE_OPTIONS[image_format])
    return buffer.getvalue()


def _reduced(image: DecodedImage, max_side: int) -> NDArray[np.uint8]:
    """Return the pixels (height, width, 3) of ``image`` in sRGB, the longer side at most ``max_side``, as a copy."""
    longest = max(image.width, image.height)
    factor = min(max_side, longest) / longest
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    if size == image.raster.size:
        return np.array(image.srgb(image.raster))
    pixels = resized(image.raster, size, Image.Resampling.BOX)
    if image.conversion:
        return np.array(image.srgb(raster_over(pixels)))
    rgb: NDArray[np.uint8] = np.empty((*pixels.shape[:2], 3), np.uint8)
    cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB, dst=rgb)
    return rgb


def _covered(start: float, stop: float, size: int) -> tuple[int, int]:
    """Return the half-open range of the pixels whose centers lie in [start, stop), at least one."""
    first = min(max(round(start), 0), size - 1)
    return first, max(first + 1, min(round(stop), size))


def _interpolation(cells: int, start: float, stop: float, first: int, last: int) -> NDArray[np.float32]:
    """Return the (last - first, cells) matrix that interpolates linearly between ``cells`` values over [start, stop).

    Values are located at the centers of cells and pixels, and stay constant beyond the outermost centers.
    """
    centers = (np.arange(first, last) + 0.5 - start) / (stop - start) * cells - 0.5
    distance = np.abs(np.clip(centers, 0, cells - 1)[:, None] - np.arange(cells))
    weights: NDArray[np.float32] = np.clip(1 - distance, 0, 1).astype(np.float32)
    return weights

"""Resize large images with SIMD: like Pillow, first the columns and then the rows, but ten times as fast.

It rounds between the two steps, as Pillow does, and differs from Pillow by at most 2 of 256 levels, in less than 1 % of
the values.
"""

import math
from typing import Final

import numpy as np
from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from numpy.typing import NDArray
from PIL import Image

from src.stages.decoded_image import Box
from src.stages.raster import raster_over

__all__ = ["REACH", "is_fast", "resize", "resized"]

REACH: Final = 4  # pixels of the larger of image and result: Lanczos, the widest filter, reaches 3 to each side
_LARGE_PIXELS: Final = 1_000_000
_KINDS: Final = {
    Image.Resampling.BOX: FilterType.box,
    Image.Resampling.BILINEAR: FilterType.bilinear,
    Image.Resampling.BICUBIC: FilterType.catmull_rom,
    Image.Resampling.LANCZOS: FilterType.lanczos3,
}


def is_fast(image: Image.Image, resampling: Image.Resampling) -> bool:
    """Return whether :func:`resize` applies to ``image``: it has over a megapixel, and the filter is supported."""
    return image.width * image.height > _LARGE_PIXELS and resampling in _KINDS


def resize(
    image: Image.Image, size: tuple[int, int], resampling: Image.Resampling, box: Box | None = None
) -> Image.Image:
    """Return ``box`` of ``image`` (RGB or L), or all of it, at ``size`` (width, height).

    Pixels around the box contribute as if the whole image were resized and then cropped.
    """
    return raster_over(resized(image, size, resampling, box))


def resized(
    image: Image.Image, size: tuple[int, int], resampling: Image.Resampling, box: Box | None = None
) -> NDArray[np.uint8]:
    """Return what :func:`resize` does as an array, (height, width, 4) with a byte of no meaning, or (height, width)."""
    whole = Box(0, 0, image.width, image.height)
    box = whole if box is None else box.within(whole)
    width, height = size
    reach = REACH * max((box.y1 - box.y0) / height, 1)
    first, last = max(0, math.floor(box.y0 - reach)), min(image.height, math.ceil(box.y1 + reach))
    columns = CropBox(box.x0, first, box.x1 - box.x0, last - first)
    rows = CropBox(0, box.y0 - first, width, box.y1 - box.y0)
    stripe = _stretched(image, columns, (width, last - first), _KINDS[resampling])
    return _stretched(raster_over(stripe), rows, size, _KINDS[resampling])


def _stretched(image: Image.Image, part: CropBox, size: tuple[int, int], kind: FilterType) -> NDArray[np.uint8]:
    width, height = size
    pixels = np.empty((height, width, 4) if image.mode == "RGB" else (height, width), np.uint8)
    options = ResizeOptions(resize_alg=ResizeAlg.convolution(kind), use_alpha=False, crop_box=part)
    Resizer().resize_pil(image, raster_over(pixels), options)
    return pixels

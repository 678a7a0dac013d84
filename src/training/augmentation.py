"""Augment the images that a network learns from."""

import math

import numpy as np
from PIL import Image, ImageEnhance

from src.stages.input_spec import InputSpec

__all__ = ["vary"]

_LEAST_AREA = 0.4  # share of the image
_MOST_STRETCHED = 4 / 3
_LIGHT = 0.2  # largest relative change of brightness, contrast and color


def vary(image: Image.Image, spec: InputSpec, rng: np.random.Generator) -> Image.Image:
    """Return a random part of ``image``, resized to the crop of ``spec``, in another light, half of the time mirrored.

    The same state of ``rng`` gives the same pixels.
    """
    height, width = spec.crop
    box = _part(image.width, image.height, rng)
    varied = image.resize((width, height), spec.resampling, box)
    if rng.random() < 0.5:  # noqa: PLR2004 - half of the images
        varied = varied.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        varied = change(varied).enhance(rng.uniform(1 - _LIGHT, 1 + _LIGHT))
    return varied


def _part(width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return the corners x0, y0, x1, y1 of a part, which is stretched as often horizontally as vertically."""
    area = width * height * rng.uniform(_LEAST_AREA, 1.0)
    stretched = math.exp(rng.uniform(-1, 1) * math.log(_MOST_STRETCHED))
    part_width = min(width, math.sqrt(area * stretched))
    part_height = min(height, math.sqrt(area / stretched))
    left, top = rng.uniform(0, width - part_width), rng.uniform(0, height - part_height)
    return left, top, left + part_width, top + part_height

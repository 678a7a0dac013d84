"""Turn an image into the network's input pixels, and the box of the image that they show."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src.stages.decoded_image import Box, DecodedImage
from src.stages.input_spec import SPARE, InputSpec
from src.stages.resize import REACH, is_fast, resize

__all__ = ["NetworkInput", "seen_box", "transform"]

_MUCH_LONGER: Final = 64  # resized area over seen area; 2 x 20,000 pixels would be resized to 655 megapixels
_RGB: Final = 3  # channels


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """The input of the network: ``pixels`` (H, W, C), RGB or gray, and the ``box`` of the image that they show."""

    pixels: NDArray[np.uint8]
    box: Box


def transform(image: DecodedImage, spec: InputSpec, *, exact: bool = False) -> NetworkInput:
    """Resize and crop an image as ``spec`` says.

    Equal, bit for bit, to torchvision's ``Resize -> CenterCrop`` on Pillow images, except for images that are very long
    (only the visible part is resized), images decoded at less than their full size, and, unless ``exact``, images of
    more than a megapixel as decoded: see :func:`.resize.resize`.
    """
    box = seen_box(image.width, image.height, spec)
    if spec.channels == _RGB:
        pixels = np.asarray(image.srgb(_seen_part(image, spec, exact=exact)))
    else:
        gray = replace(image, raster=image.srgb(image.raster).convert("L"))
        pixels = np.asarray(_seen_part(gray, spec, exact=exact))
    return NetworkInput(pixels.reshape(*spec.crop, spec.channels), box)


def _seen_part(image: DecodedImage, spec: InputSpec, *, exact: bool) -> Image.Image:
    raster, resampling = image.raster, spec.resampling
    rows, columns = spec.resized(image.width, image.height)
    height, width = spec.crop
    top, left = spec.margin_of(rows, height), spec.margin_of(columns, width)
    gap = SPARE if image.reduced else None
    part = Box(left, top, left + width, top + height).scaled(raster.width / columns, raster.height / rows)
    if not exact and is_fast(raster, resampling):
        return resize(raster, (width, height), resampling, part)
    if rows * columns > _MUCH_LONGER * height * width:
        return raster.resize((width, height), resampling, (part.x0, part.y0, part.x1, part.y1), gap)
    scale = raster.height / rows
    cut_alike = all(float(np.float32(scale * cut)) == scale * cut for cut in (top, top + height))
    if gap is None and cut_alike and raster.width >= raster.height and resampling != Image.Resampling.NEAREST:
        return _by_columns_first(raster, columns, Box(left, top, left + width, top + height), scale, resampling)
    resized = raster.resize((columns, rows), resampling, reducing_gap=gap)
    return resized.crop((left, top, left + width, top + height))


def _by_columns_first(
    raster: Image.Image, columns: int, seen: Box, scale: float, resampling: Image.Resampling
) -> Image.Image:
    """Resize a landscape image in two steps as Pillow does, columns and then rows, but only the rows that are needed.

    All columns are needed: Pillow cuts at 32-bit floats, and most positions between columns are not exact ones.
    """
    reach = REACH * max(scale, 1)
    first, last = max(0, int(seen.y0 * scale - reach)), min(raster.height, int(seen.y1 * scale + reach) + 1)
    stripe = raster.crop((0, first, raster.width, last)).resize((columns, last - first), resampling)
    part = stripe.crop((int(seen.x0), 0, int(seen.x1), last - first))
    rows = (0, seen.y0 * scale - first, part.width, seen.y1 * scale - first)
    return part.resize((part.width, int(seen.y1 - seen.y0)), resampling, rows)


def seen_box(width: int, height: int, spec: InputSpec) -> Box:
    """Return the part of a ``width`` x ``height`` image that remains after resize and center crop.

    The longer side is rounded down, the margins as ``spec`` says.
    """
    resized_height, resized_width = spec.resized(width, height)
    crop_height, crop_width = spec.crop
    top, left = spec.margin_of(resized_height, crop_height), spec.margin_of(resized_width, crop_width)
    return Box(
        x0=left * width / resized_width,
        y0=top * height / resized_height,
        x1=(left + crop_width) * width / resized_width,
        y1=(top + crop_height) * height / resized_height,
    )

"""Arrays as Pillow images, without a copy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["raster_over"]


def raster_over(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return an image over the memory of ``pixels``: RGB of (height, width, 4), L of (height, width).

    Pillow stores four bytes for a pixel of RGB; its public functions copy whatever becomes one.
    """
    mode, size = "L" if pixels.ndim == 2 else "RGB", pixels.shape[1::-1]  # noqa: PLR2004 - axes
    core: Any = Image.core  # type: ignore[attr-defined] # private, as _new is: see tests/test_private_interfaces.py
    image = Image.new(mode, (0, 0))._new(core.map_buffer(pixels, size, "raw", 0, (mode, 0, 1)))  # noqa: SLF001 - so too
    image.readonly = 1  # whoever changes it gets a copy
    return image

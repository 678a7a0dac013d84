"""Large images a strip of rows and a band of color at a time: no second copy of the whole is ever held."""

from collections.abc import Callable, Iterator
from typing import Final

from PIL import Image

__all__ = ["ON_ITS_SIDE", "by_bands", "strips"]

ON_ITS_SIDE: Final = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
)
_FROM_THE_END: Final = (  # turns that bring the first row to the end
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
)
_PIXELS: Final = 1 << 20  # of a strip


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield ``image`` in strips of its whole width: the first row of each, and the strip."""
    rows = max(1, _PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def by_bands(
    image: Image.Image, as_rgb: Callable[[Image.Image], Image.Image], turn: Image.Transpose | None
) -> Image.Image:
    """Return ``image``, which is closed, made RGB by ``as_rgb`` and then turned.

    At most 7 bytes are held for each pixel: 4 of the image as it comes or goes, and 3 of its bands.
    """
    width, height = image.size
    bands = [Image.new("L", (height, width) if turn in ON_ITS_SIDE else (width, height)) for _ in range(3)]
    for top, strip in strips(image):
        start = height - top - strip.height if turn in _FROM_THE_END else top
        for band, part in zip(bands, as_rgb(strip).split(), strict=True):
            band.paste(
                part if turn is None else part.transpose(turn), (start, 0) if turn in ON_ITS_SIDE else (0, start)
            )
    vars(image).pop("_decoder", None)  # that of WebP and AVIF holds the image too
    image.close()
    return Image.merge("RGB", bands)

"""Process large images by strips of rows and bands of color, without a second copy of the whole image."""

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
_FROM_THE_END: Final = (  # turns that move the first row to the end
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
)
_PIXELS: Final = 1 << 20  # of a strip


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the first row and the image of each full-width strip of ``image``."""
    rows = max(1, _PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def by_bands(
    image: Image.Image, as_rgb: Callable[[Image.Image], Image.Image], turn: Image.Transpose | None
) -> Image.Image:
    """Return ``image`` converted by ``as_rgb`` and then turned; ``image`` is closed.

    At most 7 bytes per pixel are held: 4 for the source or the result, and 3 for the bands.
    """
    width, height = image.size
    bands = [Image.new("L", (height, width) if turn in ON_ITS_SIDE else (width, height)) for _ in range(3)]
    for top, strip in strips(image):
        start = height - top - strip.height if turn in _FROM_THE_END else top
        for band, part in zip(bands, as_rgb(strip).split(), strict=True):
            band.paste(
                part if turn is None else part.transpose(turn), (start, 0) if turn in ON_ITS_SIDE else (0, start)
            )
    vars(image).pop("_decoder", None)  # WebP's and AVIF's decoders hold the image too
    image.close()
    return Image.merge("RGB", bands)

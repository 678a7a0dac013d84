"""What a picture file says of itself, read before a decoder sees it: files that are built to be slow are refused.

The decoders bound neither the time nor the memory that a small file may cost. Each module here walks the container of
its format, over a bounded number of its pieces, and raises ValueError with the reason where the pieces are far more
than any encoder writes. Such a walk costs an ordinary picture microseconds; a process of its own for decoding, with
limits of the operating system, would cost more than the decoding, and could not tell what is wrong with the file.
"""

from collections.abc import Callable
from typing import Final

from src.stages.decode.formats import avif, bmp, gif, jpeg, png, tiff

__all__ = ["check_container"]

_CHECKS: Final[dict[str, Callable[[bytes], float]]] = {
    "JPEG": jpeg.check,
    "PNG": png.check,
    "GIF": gif.check,
    "BMP": bmp.check,
    "TIFF": tiff.check,
    "AVIF": avif.check,
    # Two canvases and the frame: 4 bytes each. libwebp bounds the rest by the canvas.
    "WEBP": lambda _: 12.0,
    # Planes and the frame; libheif refuses what is larger than announced, and more than 1,000 parts.
    "HEIF": lambda _: 5.0,
}


def check_container(name: str, data: bytes) -> float:
    """Return how many bytes per announced pixel the decoder of the format ``name`` holds beside the decoded picture.

    Raises:
        ValueError: ``data`` is damaged, or built so that decoding it would take unbounded time or memory.
    """
    return _CHECKS[name](data)

"""What an image file says of itself, read before a decoder sees it: files that are built to be slow are refused.

The decoders bound neither the time nor the memory that a small file may cost. Each module here walks the container of
its format, over a bounded number of its pieces, and raises ValueError with the reason where the pieces are far more
than any encoder writes. Such a walk costs an ordinary image microseconds; a process of its own for decoding, with
limits of the operating system, would cost more than the decoding, and could not tell what is wrong with the file.
"""

from collections.abc import Callable
from typing import Final

from src.stages.decode.formats import avif, bmp, gif, heif, jpeg, png, tiff, webp
from src.stages.decode.formats.scan import Scan

__all__ = ["Scan", "scan"]

_SCANS: Final[dict[str, Callable[[bytes], Scan]]] = {
    "JPEG": jpeg.scan,
    "PNG": png.scan,
    "GIF": gif.scan,
    "BMP": bmp.scan,
    "TIFF": tiff.scan,
    "AVIF": avif.scan,
    "WEBP": webp.scan,
    "HEIF": heif.scan,
}


def scan(name: str, data: bytes) -> Scan:
    """Return what the decoder of the format ``name`` is to be given of ``data``.

    Raises:
        ValueError: ``data`` is damaged, or built so that decoding it would take unbounded time or memory.
        UnsupportedImage: ``data`` is intact, but of a kind that is not decoded.
    """
    return _SCANS[name](data)

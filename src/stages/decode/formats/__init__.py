"""Scan the container of an image file before a decoder sees it, and refuse files that are built to be slow.

The decoders bound neither the time nor the memory that a small file may cost. Each module here walks the container of
its format, over a bounded number of its pieces, and raises ValueError with the reason if there are far more pieces
than any encoder writes. Such a scan costs an ordinary image microseconds. Decoding in a separate process, with limits
of the operating system, would cost more than the decoding itself, and could not say what is wrong with the file.
"""

from collections.abc import Callable
from typing import Final

from src.stages.decode.damage import AS_TEXT, was_text
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
# Their pixels are compressed: bytes like those of text that was converted do not occur.
_COMPRESSED: Final = frozenset({"JPEG", "WEBP", "GIF", "AVIF", "HEIF"})


def scan(name: str, data: bytes) -> Scan:
    """Scan ``data``, a file of the format ``name``, for its decoder.

    Raises:
        ValueError: ``data`` is damaged, or built so that decoding it would take unbounded time or memory.
        UnsupportedImage: ``data`` is intact, but of a kind that is not decoded.
    """
    if name in _COMPRESSED and was_text(data):
        raise ValueError(AS_TEXT)
    return _SCANS[name](data)

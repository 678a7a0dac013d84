"""Signs of damage that decoders do not report: they decode whatever bytes there are."""

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["AS_TEXT", "check_coded", "check_continued", "was_text"]

AS_TEXT: Final = "its line ends were converted, as if it were text"
# Of interrupted downloads and failing disks: at least 512 bytes. Encoders write at most 44 zeros; that of WebP writes
# up to 57,000 where the image is plain, because its code does not adapt.
_HOLES: Final = (bytes(500), b"\xff" * 500)
_HEAD_BYTES: Final = 32
# Those in text, such as XMP's, may well all follow a carriage return.
_LINE_END_IN_PIXELS: Final = re.compile(rb"[^\t\n\r -~](\r?)\n")
_ENOUGH: Final = 8  # one of 256 line ends follows a carriage return by chance


def was_text(data: bytes) -> bool:
    """Return whether every line feed was turned into a carriage return and a line feed, as if ``data`` were text."""
    for found, line_end in enumerate(_LINE_END_IN_PIXELS.finditer(data), 1):
        if not line_end[1]:
            return False
        if found == _ENOUGH:
            return True
    return False


def check_coded(data: bytes, pieces: Iterable[tuple[int, int]]) -> None:
    """Refuse pixels in AVIF's or HEIC's adaptive arithmetic code with a hole: it does not repeat a byte for long.

    Args:
        data: The file.
        pieces: Where the pixels begin and end in it.

    Raises:
        ValueError: A stretch of them is missing, or the pieces overlap.
    """
    left = 2 * len(data)
    for start, end in pieces:
        left -= max(0, min(end, len(data)) - start)
        if left < 0:
            raise ValueError("its parts overlap")
        if any(data.find(hole, start, end) >= 0 for hole in _HOLES):
            raise ValueError("a stretch of its pixels is missing")
        check_continued(data, start, end)


def check_continued(data: bytes, start: int, end: int) -> None:
    """Refuse pixels, ``data[start:end]``, among which the file begins again.

    Raises:
        ValueError: A download was continued with the whole file, as ``wget -c`` does if a server sends all of it.
    """
    if data.find(data[:_HEAD_BYTES], max(start, 1), end) >= 0:
        raise ValueError("it begins again in the middle of its pixels")

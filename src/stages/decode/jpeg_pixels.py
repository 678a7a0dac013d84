"""Decode the pixels of a JPEG file, unless some are missing or damaged.

Pillow and simplejpeg both decode with libjpeg-turbo, to the same pixels. Pillow discards its warnings about corrupt
data; simplejpeg raises them. Warnings that do not concern pixels are resolved by repairing their cause.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import numpy as np
import simplejpeg
from PIL import Image

from src.stages.decode.formats.jpeg import SCAN, has_all_scans, offset_of
from src.stages.decode.formats.jpeg_rest import is_rest_of_pixels
from src.stages.raster import raster_over

__all__ = ["check_jpeg", "decode_jpeg"]

_Decoded = TypeVar("_Decoded")

_COLORS: Final = {"L": "GRAY", "RGB": "RGBX", "CMYK": "CMYK"}
_MOST_WARNINGS: Final = 4  # that are repaired
_END: Final = b"\xff\xd9"
_EXTRANEOUS: Final = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_NOT_KNOWN: Final = "Could not determine subsampling level"  # Pillow decodes such files
_DAMAGE: Final = re.compile("Corrupt JPEG data|Premature end|Inconsistent progression|several places")
_BEFORE: Final = 8  # bytes, which are not all equal at the end of pixels
_JFIF, _ADOBE = 0xE0, 0xEE
_PROFILE, _NO_PROFILE = b"ICC_PROFILE\0", b"NOT_PROFILE\0"  # Pillow reads it; the decoder only counts its segments
_SCAN_PARAMETERS: Final = b"\x00\x3f\x00"


def decode_jpeg(image: Image.Image, data: bytes) -> Image.Image:
    """Return the pixels of ``image``, opened from ``data``, in its mode and at its size.

    Raises:
        ValueError: The file is damaged, so that pixels are missing or wrong.
    """
    try:
        return _tolerant(partial(_decoded, image), data, image.mode)
    except ValueError as exc:
        if _NOT_KNOWN not in str(exc):
            raise
    image.load()
    return image


def check_jpeg(data: bytes, most_pixels: int) -> None:
    """Refuse a JPEG stream inside another file if its pixels are missing or wrong.

    Raises:
        ValueError: It is damaged, or has more than ``most_pixels``.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        if height * width <= most_pixels:
            _tolerant(partial(simplejpeg.decode_jpeg, colorspace="GRAY"), data, "RGB")
    except ValueError as exc:
        if _DAMAGE.search(str(exc)):
            raise
        return  # a kind that simplejpeg does not know
    if height * width > most_pixels:
        raise ValueError("its images are larger than it announces")


def _tolerant(decode: Callable[..., _Decoded], data: bytes, mode: str) -> _Decoded:
    """Return the result of ``decode`` for ``data``, tolerating warnings that do not concern pixels."""
    for _ in range(_MOST_WARNINGS):
        try:
            return decode(data, strict=True)
        except ValueError as exc:
            warning = str(exc)
            if (extraneous := _EXTRANEOUS.search(warning)) and _is_only_junk(data, int(extraneous[1])):
                return decode(data, strict=False)
            mended = _mended(data, mode, warning)
            if mended is None:
                raise
            data = mended
    raise ValueError("it is damaged in several places")


def _decoded(image: Image.Image, data: bytes, *, strict: bool) -> Image.Image:
    pixels = simplejpeg.decode_jpeg(
        data, _COLORS[image.mode], min_height=image.height, min_width=image.width, strict=strict
    )
    if image.mode == "RGB":
        return raster_over(pixels)
    if image.mode == "CMYK":  # its inks are stored inverted, with or without Adobe's marker, as in Pillow and browsers
        np.subtract(255, pixels, out=pixels)
    return Image.frombuffer(image.mode, image.size, pixels, "raw", image.mode, 0, 1)


def _mended(data: bytes, mode: str, warning: str) -> bytes | None:
    """Return ``data`` without the cause of ``warning``; None if the warning may concern pixels."""
    if "Premature end of JPEG file" in warning and not data.endswith(_END) and has_all_scans(data):
        return data + _END
    if "bad ICC marker" in warning:
        return data.replace(_PROFILE, _NO_PROFILE)
    if "unknown JFIF revision" in warning:
        at = offset_of(data, _JFIF) + 9
        return data[:at] + b"\1" + data[at + 1 :]
    if "Unknown Adobe color transform" in warning:
        at = offset_of(data, _ADOBE) + 15
        return data[:at] + (b"\2" if mode == "CMYK" else b"\1") + data[at + 1 :]
    if "Invalid SOS parameters" in warning:
        at = offset_of(data, SCAN)
        at += 5 + 2 * data[at + 4]
        return data[:at] + _SCAN_PARAMETERS + data[at + 3 :]
    return None


def _is_only_junk(data: bytes, number: int) -> bool:
    """Return whether the ``number`` bytes before the end of the pixels were added without damage to any pixel."""
    end = data.find(_END, offset_of(data, SCAN))
    start = max(end - number, 0)
    if len(set(data[start:end])) == 1:  # padding, unless it replaced pixels
        return len(set(data[start - _BEFORE : start])) > 1
    return not is_rest_of_pixels(data, start, end)

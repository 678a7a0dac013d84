"""Recognize the format of a file by its first bytes."""

import re
from importlib.util import find_spec
from typing import Final

from src.errors import UnsupportedImage
from src.stages.decode.other_kinds import kind_of

_HAS_HEIF: Final = find_spec("pillow_heif") is not None  # an optional extra
if _HAS_HEIF:
    from pillow_heif import register_heif_opener

    register_heif_opener()

__all__ = ["accepted_formats", "recognize"]

_SIGNATURES: Final = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG(?:\r\r?\n|\n)\x1a\r?\n"),  # or damaged: it has line ends in order to show that
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0(?!.{4}CR)|MM\0[*+]", re.DOTALL),  # a camera raw file has CR there
    "AVIF": re.compile(rb".{4}ftyp(?:avif|avis|.{8,64}avif)", re.DOTALL),
    "HEIF": re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
}


def accepted_formats() -> tuple[str, ...]:
    """Return Pillow's names of the accepted formats."""
    return tuple(name for name in _SIGNATURES if name != "HEIF" or _HAS_HEIF)


def recognize(data: bytes) -> str:
    """Return Pillow's name of the format of ``data``.

    Raises:
        UnsupportedImage: The bytes are not of an accepted format.
    """
    for name in accepted_formats():
        if _SIGNATURES[name].match(data):
            return name
    kind = kind_of(data)
    accepted = ", ".join(accepted_formats()).replace("HEIF", "HEIC")
    what = f"{kind}, which is not supported" if kind else "not of an accepted format"
    raise UnsupportedImage(f"The image is {what}: send one of {accepted}.")

"""Decode base64 in all its common variants."""

import binascii
import re
from typing import Final

import pybase64

from src.errors import InvalidBase64

__all__ = ["decode_base64"]

_DATA_URL: Final = re.compile(r"\s*data:[^,]{0,256};base64,", re.IGNORECASE)
_TO_STANDARD: Final = str.maketrans("-_", "+/", "\t\r\n\f\v")
_GROUP: Final = 4  # characters for three bytes; without padding the last group may have three or two


def decode_base64(text: str) -> bytes:
    """Return the bytes that ``text`` encodes as base64 or as a base64 data: URL.

    Standard or URL-safe, padded or not; line breaks, tabs and surrounding spaces are ignored.

    Raises:
        InvalidBase64: The text is empty, a URL, or has characters that are not base64, such as a space inside: an
            unescaped ``+`` in a form or query becomes a space.
    """
    if prefix := _DATA_URL.match(text):
        text = text[prefix.end() :]
    try:
        data = pybase64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error included
        data = _decode_loosely_written(text)
    if not data:
        raise InvalidBase64("The image is empty: send the bytes of an image file, encoded as base64.")
    return data


def _decode_loosely_written(text: str) -> bytes:
    try:
        if not text.isascii():  # Python would translate it a hundred times slower, with the interpreter's lock held
            raise ValueError("it has characters that are not ASCII")  # noqa: TRY301 - one refusal
        standard = text.translate(_TO_STANDARD)
        compact = standard.strip(" ")
        if " " in compact or (standard.endswith(" ") and len(compact) % _GROUP == _GROUP - 1):
            raise ValueError("it has a space, perhaps where + must be sent as %2B")  # noqa: TRY301 - one refusal
        compact = compact.rstrip("=")
        return binascii.a2b_base64(compact + "=" * (-len(compact) % _GROUP), strict_mode=True)
    except ValueError as exc:
        if text.lstrip()[:8].lower().startswith(("http://", "https://")):
            message = "The image is a URL, and URLs are never fetched: send the file itself, encoded as base64."
        else:
            message = f"The image is not base64 ({exc}): encode the bytes of the image file as base64."
        raise InvalidBase64(message) from exc

"""Read the body of a request, within limits."""

import json
import zlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from starlette.requests import Request

from src.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType

__all__ = [
    "FORM",
    "IMAGE_ITSELF",
    "JSON",
    "check_json",
    "check_sent_once",
    "check_unique",
    "decompressed",
    "is_compressed",
    "media_type",
    "read_body",
]

JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
IMAGE_ITSELF: Final = ("image/*", "application/octet-stream")

_HAS_OPTIONS: Final = {JSON: "the JSON object", FORM: "the form"}
_OPTION_COMMAS: Final = 100  # between the options, and in the name of a class
_IMAGE_COMMAS: Final = 2  # after an image, and in a data: URL
_GZIP: Final = ("gzip", "x-gzip")
_NO_ENCODING: Final = ("", "identity", "utf-8")  # the last is a common and harmless mistake
_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS
_SHOWN: Final = 60


def media_type(request: Request) -> str:
    """Return the media type that ``request`` declares for its body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, accepted: Iterable[str], limit: int) -> bytes:
    """Return the body of ``request``, at most ``limit`` bytes; stop reading as soon as it is too long.

    Args:
        request: The request whose body is read.
        accepted: Media types, with ``*`` for any.
        limit: Maximum number of bytes, compressed or not.

    Raises:
        UnsupportedMediaType: The Content-Type is not accepted, or the compression is not gzip.
        InvalidRequest: The query has options that belong in the body.
        BodyTooLarge: The body is longer, whatever its Content-Length says.
    """
    if not any(fnmatchcase(media_type(request), pattern) for pattern in accepted):
        sent = request.headers.get("content-type", "")
        raise UnsupportedMediaType(f"The Content-Type is {sent[:100]!r}: send a body of the type {_either(accepted)}.")
    is_compressed(request)
    _refuse_query(request)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def is_compressed(request: Request) -> bool:
    """Return whether the body of ``request`` is compressed with gzip.

    Raises:
        UnsupportedMediaType: It has another compression.
    """
    sent = ",".join(request.headers.getlist("content-encoding"))
    encodings = [name for name in sent.lower().replace(" ", "").split(",") if name not in _NO_ENCODING]
    if not encodings:
        return False
    if len(encodings) == 1 and encodings[0] in _GZIP:
        return True
    raise UnsupportedMediaType(f"The Content-Encoding is {sent[:_SHOWN]!r}: send the body uncompressed or with gzip.")


def decompressed(body: bytes, limit: int) -> bytes:
    """Return the contents of the gzip file ``body``, at most ``limit`` bytes.

    Raises:
        InvalidRequest: It is not exactly one complete gzip file.
        BodyTooLarge: The contents are longer.
    """
    stream = zlib.decompressobj(_GZIP_FORMAT)
    try:
        data = stream.decompress(body, limit + 1)
    except zlib.error as exc:
        raise InvalidRequest(
            "The Content-Encoding is gzip, but the body is not: compress it or drop the header."
        ) from exc
    if len(data) > limit:
        raise _too_large(limit)
    if not stream.eof or stream.unused_data:
        raise InvalidRequest("The body is not one complete gzip file: compress it in one piece and send all of it.")
    return data


def check_json(body: bytes, images: int) -> None:
    """Check that a JSON request has no more values than ``images`` images need, each possibly a data: URL.

    Without this check, a list of ten million numbers would produce an error for each, in a minute and 8 GB.

    Raises:
        InvalidRequest: There are too many commas, and so possibly too many values.
    """
    if body.count(b",") > _OPTION_COMMAS + images * _IMAGE_COMMAS:
        raise InvalidRequest(f"The request has more values than {images} images need: see ./docs for the fields.")


def check_unique(body: bytes, fields: int) -> None:
    """Check that a valid JSON request with that many different fields has each of them once: the last would win.

    Raises:
        InvalidRequest: It has one of them twice.
    """
    if body.count(b":") > fields:  # which may also be in a value
        json.loads(body, object_pairs_hook=lambda pairs: check_sent_once(name for name, _ in pairs))


def check_sent_once(names: Iterable[str]) -> None:
    """Check that none of the ``names`` of fields is repeated.

    Raises:
        InvalidRequest: One is.
    """
    seen = set()
    for name in names:
        if name in seen:
            raise InvalidRequest(f"The field {name[:_SHOWN]!r} is sent twice: send each field once.")
        seen.add(name)


def _refuse_query(request: Request) -> None:
    """Refuse options in the query, where they would be ignored."""
    where = _HAS_OPTIONS.get(media_type(request))
    for name in request.query_params if where else ():
        raise InvalidRequest(
            f"The query has {name[:_SHOWN]!r}: send options as fields of {where}. "
            "They belong in the query only if the body is the image itself."
        )


def _either(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request is larger than the limit of {limit / 1e6:g} MB: send a smaller image.")

"""The body of a request -> the image and the options in it, within limits."""

import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from src.api.errors import invalid_request
from src.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from src.options import Options

__all__ = ["FileUpload", "check_json", "read_body", "read_form"]

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_NULLABLE: Final = frozenset(name for name, field in Options.model_fields.items() if field.default is None)
_OPTION_COMMAS: Final = 100  # those between the options, and in the name of a class
_IMAGE_COMMAS: Final = 2  # behind an image, and in a data: URL
_MAX_FIELDS: Final = 32
_MAX_FIELD_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class FileUpload:
    """An image file and the options that came with it in a form."""

    data: bytes
    options: Options


async def read_body(request: Request, media_type: str, limit: int) -> bytes:
    """Return the body of ``request``, at most ``limit`` bytes of ``media_type``; reading stops where it is too long.

    Raises:
        UnsupportedMediaType: The Content-Type is another one.
        BodyTooLarge: The body is longer, whatever its Content-Length says.
    """
    sent = request.headers.get("content-type", "")
    if sent.partition(";")[0].strip().lower() != media_type:
        raise UnsupportedMediaType(f"The Content-Type is {sent[:100]!r}: send a body of the type {media_type}.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def check_json(body: bytes, images: int) -> None:
    """Check that a JSON request has no more values than one of so many ``images``, each perhaps a data: URL, needs.

    A list of ten million numbers would be answered too, but with an error for each of them: a minute, and 8 GB.

    Raises:
        InvalidRequest: There are more commas, without which there is no second value.
    """
    if body.count(b",") > _OPTION_COMMAS + images * _IMAGE_COMMAS:
        raise InvalidRequest(f"The request has more values than {images} images need: see /docs for the fields.")


async def read_form(request: Request, limit: int) -> FileUpload:
    """Return the file ``img`` and the options of a multipart form of at most ``limit`` bytes; all stays in memory.

    Raises:
        RequestError: The form is too large, not well formed, or has not exactly one file, called ``img``.
    """
    body = await read_body(request, "multipart/form-data", limit)

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers, whole(), max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
    )
    parser.spool_max_size = limit + 1
    try:
        form = await parser.parse()
    except MultiPartException as exc:
        raise InvalidRequest(f"The form cannot be read ({exc}): send one file and short option fields.") from exc
    try:
        fields = dict(form)
        if len(fields) != len(form.multi_items()):
            raise InvalidRequest("The form has a field twice: send each once.")
        return await _upload(fields)
    finally:
        await form.close()


async def _upload(fields: dict[str, str | UploadFile]) -> FileUpload:
    img = fields.pop("img", None)
    if not isinstance(img, UploadFile):
        raise InvalidRequest("The form has no file called img: send the image as a file field of that name.")
    values = {name: _value(text) for name, text in fields.items() if text != "null" or name not in _NULLABLE}
    try:
        options = Options.model_validate(values, strict=False)
    except ValidationError as exc:
        raise invalid_request(exc) from exc
    data = await img.read()
    if not data:
        raise InvalidRequest("The file img is empty: send the bytes of an image file.")
    return FileUpload(data, options)


def _value(text: str | UploadFile) -> str | int:
    """Return what a form field says: digits are a number, a text in quotes is JSON, as BentoML's client writes it."""
    if not isinstance(text, str):
        raise InvalidRequest("The form has a file under another name than img: send one file, called img.")
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        return str(json.loads(text)) if text.startswith('"') else text
    except ValueError:
        return text


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request is longer than the {limit / 1e6:g} MB that are accepted: send a smaller image.")

"""Read an image that is sent as a file, in a form or as the body itself, and its options."""

import json
import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from src.api.body import FORM, check_sent_once, media_type
from src.api.errors import invalid_request
from src.errors import InvalidRequest
from src.options import Options

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["Upload", "read_upload"]

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it would log bytes of malformed forms, without an id

_ADVICE: Final = "send one file, called img, and short option fields"
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_NOT_SENT: Final = ("", "None", "null", "undefined")  # values that clients send for options that are not set
_CLASSES: Final = ("target", "versus")  # options that name a class, whose label may be one of those values
_TEXT_ENCODINGS: Final = (b"base64", b"quoted-printable")  # of mail; forms may not have them (RFC 7578, 4.7)
_MAX_FIELDS: Final = 32
_MAX_FIELD_BYTES: Final = 4_096
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Upload:
    """An image file and the options that came with it."""

    data: bytes
    options: Options


@dataclass(slots=True)
class _Part:
    name: str = ""
    is_file: bool = False
    is_whole: bool = False
    data: bytearray = field(default_factory=bytearray)


def read_upload(request: Request, body: bytes, labels: Collection[str]) -> Upload:
    """Return the image of ``request`` and its options, which are fields of the form, or of the query.

    Args:
        request: Has the Content-Type and the query.
        body: A multipart form, or the image itself.
        labels: Classes of the model; one may be called ``None``.

    Raises:
        InvalidRequest: The form is malformed or does not have exactly one file, called ``img``; or an option is wrong.
    """
    if media_type(request) != FORM:
        data, options = body, [_mended(*item) for item in request.query_params.multi_items()]
    else:
        data, options = _image_and_options(_parts(request, body))
    if not data:
        raise InvalidRequest("The file img is empty: send the bytes of an image file.")
    return Upload(data, _options(options, labels))


def _mended(name: str, text: str) -> tuple[str, str]:
    """Return a field of the query with the ``+`` of gradcam++, which means a space there unless it is escaped."""
    return name, text.replace(" ", "+") if name == "method" else text


def _image_and_options(parts: Iterable[_Part]) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the image, from the part called img with or without a file name, and the other fields."""
    images = [part for part in parts if part.name == "img"]
    others = [part for part in parts if part.name != "img"]
    if not images:
        raise InvalidRequest("The form has no file called img: send the image as a file field of that name.")
    if len(images) > 1:
        raise InvalidRequest("The form has the field img twice: send one image per request.")
    for part in others:
        if part.is_file:
            raise InvalidRequest("The form has a file that is not called img: send one file, called img.")
    return bytes(images[0].data), [(part.name, _text(part.data)) for part in others]


def _options(items: Collection[tuple[str, str]], labels: Collection[str]) -> Options:
    check_sent_once(name for name, _ in items)
    values: dict[str, str | int] = {}
    for name, text in items:
        is_label = name in _CLASSES and text in labels
        if text not in _NOT_SENT or is_label or name not in Options.model_fields:
            values[name] = text if is_label else _value(text)
    try:
        return Options.model_validate(values, strict=False)
    except ValidationError as exc:
        raise invalid_request(exc) from exc


def _value(text: str) -> str | int:
    """Return the value of a field: digits are a number, quoted text is JSON, as BentoML's client sends it."""
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        return str(json.loads(text)) if text.startswith('"') else text
    except ValueError:
        return text


def _parts(request: Request, body: bytes) -> list[_Part]:
    _, parameters = parse_options_header(request.headers["content-type"])
    form = _Form()
    try:
        MultipartParser(parameters[b"boundary"], form.callbacks).write(body)
    except KeyError:
        raise InvalidRequest(f"The Content-Type of the form has no boundary: {_ADVICE}.") from None
    except FormParserError as exc:
        raise InvalidRequest(f"The form cannot be read ({exc}): {_ADVICE}.") from exc
    if not all(part.is_whole for part in form.parts):
        raise InvalidRequest(f"The form ends before its last boundary: {_ADVICE}.")
    return form.parts


class _Form:
    """Collects the parts of a form in memory as python-multipart parses them."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._add_to_name,
            "on_header_value": self._add_to_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add,
            "on_part_end": self._end,
        }
        self._header = b""
        self._value = b""

    def _begin(self) -> None:
        if len(self.parts) > _MAX_FIELDS:
            raise InvalidRequest(f"Too many fields in the form: {_ADVICE}.")
        self.parts.append(_Part())

    def _add_to_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, parameters = parse_options_header(self._value)
            self.parts[-1].name = _text(parameters.get(b"name", b""))
            self.parts[-1].is_file = b"filename" in parameters
        elif self._header.lower() == b"content-transfer-encoding" and self._value.strip().lower() in _TEXT_ENCODINGS:
            raise InvalidRequest("The form has a part with a Content-Transfer-Encoding: send its bytes as they are.")
        self._header = self._value = b""

    def _add(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        part.data += data[start:end]
        if part.name != "img" and not part.is_file and len(part.data) > _MAX_FIELD_BYTES:
            raise InvalidRequest(f"The field {part.name[:_SHOWN]!r} is longer than any option: {_ADVICE}.")

    def _end(self) -> None:
        self.parts[-1].is_whole = True


def _text(data: bytes | bytearray) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")

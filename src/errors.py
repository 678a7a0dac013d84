"""What can go wrong, as plain exceptions.

Nothing here knows about the web: :mod:`src.api.errors` gives each request error its HTTP status.
"""

from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "ArchiveError",
    "BodyTooLarge",
    "BrokenImage",
    "Busy",
    "DeadlineExceeded",
    "ImageTooLarge",
    "InvalidBase64",
    "InvalidRequest",
    "ModelError",
    "ModelMissing",
    "Remedy",
    "RequestError",
    "Unauthorized",
    "UnknownClass",
    "UnsupportedImage",
    "UnsupportedMediaType",
]


class RequestError(Exception):
    """A request cannot be answered; the message says what is wrong and what to do."""

    code: ClassVar[str]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(RequestError):
    """A field is missing, unknown, of the wrong type or out of range."""

    code = "invalid_request"


class InvalidBase64(RequestError):
    """The text of the image is not base64."""

    code = "invalid_base64"


class Unauthorized(RequestError):
    """The service has a key, and the request has not."""

    code = "unauthorized"


class UnknownClass(RequestError):
    """The target names no class of the model, or more than one."""

    code = "unknown_class"


class BodyTooLarge(RequestError):
    """The request has more bytes than are accepted."""

    code = "body_too_large"


class ImageTooLarge(RequestError):
    """The image has more pixels than are decoded."""

    code = "image_too_large"


class UnsupportedImage(RequestError):
    """The bytes are none of the accepted image formats."""

    code = "unsupported_image"


class UnsupportedMediaType(RequestError):
    """The Content-Type of the request is not the one that the route takes."""

    code = "unsupported_media_type"


class BrokenImage(RequestError):
    """The bytes claim to be an accepted image format but do not decode."""

    code = "broken_image"


class Busy(RequestError):
    """Too many requests are waiting already."""

    code = "busy"


class DeadlineExceeded(RequestError):
    """The answer was not ready in time."""

    code = "timeout"


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a person can say to settle a matter: a field of :class:`Given` or of the settings, and a value for it.

    Each command, and the service, knows how its users say it: by a flag, a variable or an argument.
    """

    field: str
    value: str = ""


class ModelError(Exception):
    """A checkpoint, a network or a stored model cannot be used; the message says why, ``remedies`` what settles it."""

    def __init__(self, message: str, *remedies: Remedy) -> None:
        super().__init__(message)
        self.remedies = remedies


class ModelMissing(ModelError):
    """The model store does not have the model."""

    def __init__(self, tag: str) -> None:
        super().__init__(f"There is no model {tag} in the model store: run save_model.py first.")


class ArchiveError(Exception):
    """The input or the output of a run over an archive cannot be used; the message says why and what to do."""

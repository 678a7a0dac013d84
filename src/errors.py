"""The exceptions of the project.

They are independent of HTTP: :mod:`src.api.errors` assigns each request error its status.
"""

from collections.abc import Iterator
from contextlib import contextmanager
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
    "as_archive_error",
    "described",
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
    """The service requires a key that the request does not have."""

    code = "unauthorized"


class UnknownClass(RequestError):
    """The name of a class matches no class of the model, or more than one."""

    code = "unknown_class"


class BodyTooLarge(RequestError):
    """The request has more bytes than allowed."""

    code = "body_too_large"


class ImageTooLarge(RequestError):
    """The image has more pixels than allowed."""

    code = "image_too_large"


class UnsupportedImage(RequestError):
    """The bytes are not of an accepted image format, or are of a kind that is not decoded."""

    code = "unsupported_image"


class UnsupportedMediaType(RequestError):
    """The route does not accept the Content-Type or the Content-Encoding of the request."""

    code = "unsupported_media_type"


class BrokenImage(RequestError):
    """The bytes claim to be an accepted image format but do not decode."""

    code = "broken_image"


class Busy(RequestError):
    """Too many requests are already waiting."""

    code = "busy"


class DeadlineExceeded(RequestError):
    """The answer was not ready in time."""

    code = "timeout"


@dataclass(frozen=True, slots=True)
class Remedy:
    """A value that the user can set to resolve an error: a field of :class:`Given` or of the settings, and its value.

    The service and each command know how their users set it: by a variable, a flag or an argument.
    """

    field: str
    value: str = ""


class ModelError(Exception):
    """A checkpoint, a network or a stored model cannot be used; the message says why, ``remedies`` resolve it."""

    def __init__(self, message: str, *remedies: Remedy) -> None:
        super().__init__(message)
        self.remedies = remedies


class ModelMissing(ModelError):
    """The model is not in the model store."""

    def __init__(self, tag: str) -> None:
        super().__init__(f"There is no model {tag} in the model store: run save_model.py first.")


class ArchiveError(Exception):
    """The input or the output of a run over an archive cannot be used; the message says why and what to do."""


@contextmanager
def as_archive_error(fault: str, advice: str = "") -> Iterator[None]:
    """Raise an error of any type as an :class:`ArchiveError`: the ``fault``, the error, and the ``advice``."""
    try:
        yield
    except ArchiveError:
        raise
    except Exception as exc:
        raise ArchiveError(f"{fault} ({type(exc).__name__}: {exc}){advice and f': {advice}'}.") from exc


def described(exc: OSError) -> str:
    """Return what the system says of a missing permission, a full disk, ..., after the file that it concerns."""
    reason = exc.strerror or str(exc)
    return f"{exc.filename}: {reason}" if exc.filename else reason

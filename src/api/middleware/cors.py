"""Let pages of other origins call the service."""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from src.api.errors import ErrorAnswer, error_object

__all__ = ["Cors"]


class Cors(CORSMiddleware):
    """Starlette's CORS middleware with our methods and headers, and refusals as the common error object."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["Retry-After", "WWW-Authenticate", "X-Request-ID"],
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight request."""
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return response
        what = bytes(response.body).decode("ascii", "replace").removeprefix("Disallowed CORS ")
        message = f"Pages of this origin may not make this call ({what}): see IMAGE_RECOGNITION_CORS_ORIGINS."
        kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return ErrorAnswer(HTTPStatus.BAD_REQUEST, error_object("cors_refused", message), kept)

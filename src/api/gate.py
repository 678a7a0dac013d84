"""What is refused by the head of a request alone, before anything is done for it."""

from starlette.types import ASGIApp, Receive, Scope, Send

from src.api.admission import Admission
from src.api.errors import error_response
from src.api.routes import RECOGNITION
from src.errors import Busy

__all__ = ["Gate"]


class Gate:
    """ASGI middleware that refuses pictures while as many requests wait as may; so refusing costs next to nothing."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        app = self._app
        if self._admission.is_full and scope["type"] == "http" and scope["path"] in RECOGNITION:
            app = error_response(Busy("Too many requests are waiting: try again in a moment."))
        await app(scope, receive, send)

"""What stands around the routes: every request passes it on its way in, every answer on its way out."""

from typing import Final

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from src.api.access import Access
from src.api.concurrency import Concurrency
from src.api.errors import OneErrorShape
from src.api.gate import Busyness, Gate
from src.api.key import KeyRequired
from src.api.metrics import Metrics
from src.api.routes import METRICS, PAGES, PROBES
from src.api.shortcut import Shortcut
from src.settings import Settings

__all__ = ["surround"]

_KEPT: Final = "ContextMiddleware"


def surround(bento: Starlette, settings: Settings, concurrency: Concurrency, metrics: Metrics) -> Gate:
    """Return the web application that BentoML made, behind what protects and observes it.

    Of BentoML's own surroundings only the context stays, which its routes need. Its timeout, figures, access log and
    spans would take their time of every request, refused ones too; the figures get a new series for every address that
    anybody asks for, and the log writes addresses with the line breaks in them.
    """
    bento.user_middleware = [kept for kept in bento.user_middleware if getattr(kept.cls, "__name__", "") == _KEPT]
    app: ASGIApp = Shortcut(bento)
    if settings.api_key is not None:
        app = KeyRequired(app, settings.api_key, _open_paths(settings))
    # CORS too refuses, in a shape of its own, and must be around all other errors.
    app = Access(OneErrorShape(_with_cors(OneErrorShape(app), settings)), metrics)
    return Gate(app, _with_cors(Busyness(), settings), concurrency, metrics)


def _with_cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    if not settings.cors_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["Retry-After", "WWW-Authenticate", "X-Request-ID"],
    )


def _open_paths(settings: Settings) -> tuple[str, ...]:
    """Return what is there without the key: the pages, so that people can type it, and what is asked by machines."""
    probes = PROBES if settings.open_probes else ()
    metrics = (METRICS,) if settings.open_metrics else ()
    return (*PAGES, *probes, *metrics)

"""The composition root, which assembles the routes, BentoML's application and the middleware."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from src.api.concurrency import Concurrency
from src.api.endpoints import Endpoints
from src.api.errors import error_response, respond
from src.api.middleware.access import Access
from src.api.middleware.cors import Cors
from src.api.middleware.key import KeyRequired
from src.api.middleware.overload import Overload
from src.api.pages import page_routes
from src.api.routes import METRICS, PAGES, PROBES
from src.errors import Busy
from src.settings import Settings

__all__ = ["create_app"]

# Routes of BentoML's application: the probes, and the schema for its clients.
_BENTOML: Final = (*PROBES, "/schema.json")


def create_app(settings: Settings, endpoints: Endpoints, bento: Starlette) -> Overload:
    """Return the web application: our routes, with BentoML's application ``bento`` behind them.

    The lifespan of ``bento`` is that of the whole application: it creates the service and loads the model. Only its
    routes listed above are reachable. Its middleware, which logs, traces and times requests as ours does, is bypassed.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with bento.router.lifespan_context(bento):
            yield

    app = Starlette(
        routes=[
            Route("/image_recognition", endpoints.json, methods=["POST"]),
            Route("/image_recognition_file", endpoints.file, methods=["POST"]),
            Route("/image_recognition_batch", endpoints.batch, methods=["POST"]),
            Route("/model", endpoints.model),
            *page_routes(endpoints.metrics, keyed=settings.api_key is not None),
            *(Route(path, bento.router, methods=["GET"]) for path in _BENTOML),
        ],
        middleware=[
            Middleware(Access, metrics=endpoints.metrics),
            *([Middleware(Cors, origins=settings.cors_origins)] if settings.cors_origins else []),
            Middleware(ExceptionMiddleware, handlers={Exception: respond}),
            *_key(settings),
        ],
        exception_handlers={HTTPException: respond},  # raised by the router, and otherwise handled by Starlette
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # it would redirect clients to whatever host their request names
    return Overload(app, _busy(settings, endpoints.concurrency), endpoints.concurrency, endpoints.metrics)


def _busy(settings: Settings, concurrency: Concurrency) -> ASGIApp:
    """Return the response to a request that is refused before it reaches the application."""
    answer = error_response(Busy(concurrency.places.refusal))
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return Cors(answer, settings.cors_origins) if settings.cors_origins else answer


def _key(settings: Settings) -> list[Middleware]:
    """Require the key, if there is one, except for the pages, where users enter it, and perhaps probes and metrics."""
    if settings.api_key is None:
        return []
    probes = PROBES if settings.open_probes else ()
    metrics = (METRICS,) if settings.open_metrics else ()
    return [Middleware(KeyRequired, key=settings.api_key, open=(*PAGES, *probes, *metrics))]

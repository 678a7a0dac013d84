"""What is read with GET: the model, the documentation of the API, the page for people."""

from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from src.api.metrics import CONTENT_TYPE, Metrics
from src.api.openapi import openapi_document
from src.api.schemas import ModelResponse

__all__ = ["create_pages", "show_model"]

_HERE: Final = Path(__file__).parent


def create_pages(metrics: Metrics) -> Starlette:
    """Return the web application with the pages, to be mounted beside the routes of the service."""

    async def figures(_: Request) -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/", _index),
            Route("/docs", _docs),
            Route("/docs.json", _docs_json),
            Route("/model", _model),
            Route("/metrics", figures),
        ]
    )


def show_model(pages: Starlette, metrics: Metrics, model: ModelResponse) -> None:
    """Let ``pages`` and ``metrics`` describe ``model``, which is known only when the service has loaded it."""
    metrics.show_model(model)
    pages.state.model = model.model_dump_json()


async def _index(_: Request) -> Response:
    return FileResponse(_HERE / "index.html")


async def _docs(_: Request) -> Response:
    return FileResponse(_HERE / "docs.html")


async def _docs_json(_: Request) -> Response:
    return JSONResponse(openapi_document())


async def _model(request: Request) -> Response:
    return Response(request.app.state.model, media_type="application/json")

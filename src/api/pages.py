"""The routes to read with GET: the page, the documentation of the API, the metrics."""

import base64
import hashlib
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from src.api.openapi import openapi_document
from src.api.telemetry.metrics import CONTENT_TYPE, Metrics
from src.stages.render import COLORS

__all__ = ["page_routes"]

_FOLDER: Final = Path(__file__).parent / "page"
_PARTS: Final = re.compile(r"/\* ([a-z. ]+) \*/")
_SWAGGER: Final = ("swagger-ui.css", "swagger-ui-bundle.js")
_INLINE: Final = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_PALETTES: Final = '<script type="application/json" id="palettes">{}</script>'
_HEADERS: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
}


def page_routes(metrics: Metrics, *, keyed: bool) -> list[Route]:
    """Return the routes of the pages and the metrics; ``keyed``: the service requires a key."""
    same_for_all = {
        "/": _page("index.html", {"img-src": "blob: data:"}),
        "/docs": _page("docs.html", {"img-src": "data:", "style-src": "'self'", "script-src": "'self'"}),
        "/docs.json": JSONResponse(openapi_document(keyed=keyed)),
    }

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE)

    return [
        *(Route(path, answer, methods=["GET"]) for path, answer in same_for_all.items()),
        *(_file(f"/docs/{file.name}", file) for file in _swagger_files()),
        *(_file(f"/samples/{file.name}", file) for file in sorted((_FOLDER / "samples").glob("*.jpg"))),
        Route("/metrics", show_metrics),
    ]


def _joined(files: re.Match[str]) -> str:
    """Return the contents of the files that a page names, to inline them: the page loads in one request."""
    return "\n".join((_FOLDER / file).read_text(encoding="utf-8") for file in files[1].split())


def _palettes() -> str:
    """Return the colors of every color map as JSON: 256 RGB triples each, in base64."""
    return json.dumps({name.value: base64.b64encode(colors.tobytes()).decode() for name, colors in COLORS.items()})


def _swagger_files() -> list[Path]:
    """Find Swagger's script and style sheet without importing their package, which would import Flask."""
    package = find_spec("flask_swagger_ui")
    folders = package.submodule_search_locations if package else None
    if not folders:
        raise ModuleNotFoundError("flask-swagger-ui is not installed: install requirements.txt.")
    return [Path(folders[0]) / "dist" / name for name in _SWAGGER]


def _file(path: str, file: Path) -> Route:
    """Return the route of a file, which is always sent whole: FileResponse would refuse ranges in another format."""

    async def show(request: Request) -> Response:
        request.scope["headers"] = [header for header in request.headers.raw if header[0] != b"range"]
        return FileResponse(file, headers={"Accept-Ranges": "none"})

    return Route(path, show)


def _page(name: str, allowed: dict[str, str]) -> Response:
    """Return a page with its headers; ``allowed`` holds directives of its content security policy.

    The policy allows the scripts and styles in the file by their hashes, so injected ones cannot run.
    """
    html = _PARTS.sub(_joined, (_FOLDER / name).read_text(encoding="utf-8"))
    html = html.replace(_PALETTES.format("{}"), _PALETTES.format(_palettes()))
    policy = {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"}
    policy |= {"connect-src": "'self'"} | allowed
    for kind, text in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        policy[f"{kind}-src"] = f"{policy.get(f'{kind}-src', '')} 'sha256-{digest}'".strip()
    rules = "; ".join(f"{directive} {sources}" for directive, sources in policy.items())
    return HTMLResponse(html, headers=_HEADERS | {"Content-Security-Policy": rules})

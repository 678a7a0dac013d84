"""The OpenAPI document of the service: every route, field and status, from the schemas themselves."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from src.api.errors import STATUS, framework_error
from src.api.schemas import (
    BatchRequest,
    BatchResponse,
    ErrorResponse,
    FileRequest,
    ModelResponse,
    RecognitionRequest,
    RecognitionResponse,
)

__all__ = ["openapi_document"]

_JSON: Final = "application/json"
_FORM: Final = "multipart/form-data"
_ALWAYS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_REFUSALS: Final = sorted({*STATUS.values(), *_ALWAYS})
_PROBES: Final = {
    "/livez": "Whether the service is alive.",
    "/readyz": "Whether the service takes requests.",
    "/healthz": "Like /livez.",
    "/metrics": "Metrics for Prometheus.",
}


def openapi_document(*, keyed: bool = False) -> dict[str, Any]:
    """Return the document, OpenAPI 3.1, as JSON objects; ``keyed``: of a service that has a key."""
    requests: list[type[BaseModel]] = [RecognitionRequest, FileRequest, BatchRequest]
    answers: list[type[BaseModel]] = [RecognitionResponse, BatchResponse, ModelResponse, ErrorResponse]
    _, schemas = models_json_schema(
        [*((model, "validation") for model in requests), *((model, "serialization") for model in answers)],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Image recognition",
            "version": "1",
            "description": "What is in an image, how sure the model is, and which pixels spoke for it.",
        },
        "paths": {
            "/image_recognition": _post("Recognize one image.", _JSON, RecognitionRequest, RecognitionResponse),
            "/image_recognition_file": _post("Recognize an image file.", _FORM, FileRequest, RecognitionResponse),
            "/image_recognition_batch": _post("Recognize several images.", _JSON, BatchRequest, BatchResponse),
            "/model": {"get": _operation("The model that answers, and how it runs.", ModelResponse, _ALWAYS)},
            **{path: {"get": _plain(summary)} for path, summary in _PROBES.items()},
        },
        "components": {"schemas": schemas["$defs"], "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}] if keyed else [{}, {"key": []}],
    }


def _post(summary: str, media_type: str, asked: type[BaseModel], answered: type[BaseModel]) -> dict[str, Any]:
    operation = _operation(summary, answered, _REFUSALS)
    body = {"required": True, "content": {media_type: {"schema": _reference(asked)}}}
    return {"post": operation | {"requestBody": body}}


def _operation(summary: str, answered: type[BaseModel], refusals: Iterable[HTTPStatus]) -> dict[str, Any]:
    answer = {"200": {"description": "The answer.", "content": {_JSON: {"schema": _reference(answered)}}}}
    return {"summary": summary, "responses": answer | _refused(refusals)}


def _plain(summary: str) -> dict[str, Any]:
    answer = {"200": {"description": "Yes.", "content": {"text/plain": {}}}}
    return {"summary": summary, "responses": answer | _refused(_ALWAYS)}


def _refused(statuses: Iterable[HTTPStatus]) -> dict[str, Any]:
    content = {_JSON: {"schema": _reference(ErrorResponse)}}
    return {str(status.value): {"description": _codes(status), "content": content} for status in statuses}


def _codes(status: HTTPStatus) -> str:
    codes = [kind.code for kind, of_kind in STATUS.items() if of_kind == status]
    return f"error.code is {' or '.join(codes or [framework_error(status).error.code])}."


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}

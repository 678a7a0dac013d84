"""The OpenAPI document of the service: every route, field and status, from the schemas themselves."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from src.api import examples
from src.api.body import FORM, JSON
from src.api.errors import STATUS, framework_error
from src.api.schemas.answers import BatchResponse, ErrorResponse, RecognitionResponse
from src.api.schemas.model import ModelResponse
from src.api.schemas.requests import BatchRequest, FileRequest, RecognitionRequest
from src.options import Method

__all__ = ["openapi_document"]

_ALWAYS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_REFUSALS: Final = sorted({*STATUS.values(), *_ALWAYS})
_TAGS: Final = {
    "Recognition": "Classify images, and show which pixels support the answer.",
    "Model": "Describe the served model.",
    "Operation": "Probes and metrics, which need no key unless a setting says so.",
}
_PROBES: Final = {
    "/livez": "Whether the service is alive.",
    "/readyz": "Whether the service accepts requests.",
    "/healthz": "Like /livez.",
}


def openapi_document(*, keyed: bool = False) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document as JSON objects; ``keyed``: the service requires a key."""
    return {
        "openapi": "3.1.0",
        "servers": [{"url": "."}],  # wherever a proxy has put the document
        "info": {
            "title": "Image recognition",
            "version": "1",
            "description": "Recognize images: their classes, how confident the model is, and which pixels support the "
            "answer. The examples are answers of the default network.",
        },
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": _recognition() | _reading(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}] if keyed else [{}, {"key": []}],
    }


def _recognition() -> dict[str, Any]:
    """Describe the routes that recognize images."""
    one = _json(RecognitionResponse, examples.ONE_ANSWER)
    several = _json(BatchResponse, examples.SEVERAL_ANSWERS)
    return {
        "/image_recognition": _post("Recognize one image.", _json(RecognitionRequest, examples.ONE), one),
        "/image_recognition_file": _post(
            "Recognize an image file.",
            {FORM: {"schema": _reference(FileRequest)}},
            one,
            "The body may also be the image itself, as image/* or application/octet-stream, with options in the query.",
        ),
        "/image_recognition_batch": _post(
            "Recognize several images.",
            _json(BatchRequest, examples.SEVERAL),
            several,
            "An image that cannot be recognized gets its own error and does not affect the others.",
        ),
    }


def _reading() -> dict[str, Any]:
    """Describe the routes that are read with GET."""
    model, metrics = _json(ModelResponse, examples.MODEL), _text(examples.METRICS)
    return {
        "/model": {"get": _operation("Model", "The model that answers, and how it runs.", model, _ALWAYS)},
        **{path: {"get": _operation("Operation", means, _text("\n"), _ALWAYS)} for path, means in _PROBES.items()},
        "/metrics": {"get": _operation("Operation", "Metrics for Prometheus.", metrics, _ALWAYS)},
    }


def _schemas() -> dict[str, Any]:
    requests: list[type[BaseModel]] = [RecognitionRequest, FileRequest, BatchRequest]
    answers: list[type[BaseModel]] = [RecognitionResponse, BatchResponse, ModelResponse, ErrorResponse]
    _, schemas = models_json_schema(
        [*((model, "validation") for model in requests), *((model, "serialization") for model in answers)],
        ref_template="#/components/schemas/{model}",
    )
    definitions: dict[str, Any] = schemas["$defs"]
    for model in requests:
        fields = definitions[model.__name__]["properties"]
        fields.update({name: _field(field, nullable=model is not FileRequest) for name, field in fields.items()})
    # Client generators would give gradcam and gradcam++ the same name.
    definitions[Method.__name__]["x-enum-varnames"] = [method.name for method in Method]
    return definitions


def _post(summary: str, asked: dict[str, Any], answered: dict[str, Any], description: str = "") -> dict[str, Any]:
    operation = _operation("Recognition", summary, answered, _REFUSALS) | (
        {"description": description} if description else {}
    )
    return {"post": operation | {"requestBody": {"required": True, "content": asked}}}


def _json(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    return {JSON: {"schema": _reference(model), "example": example}}


def _text(example: str) -> dict[str, Any]:
    return {"text/plain": {"schema": {"type": "string"}, "example": example}}


def _field(field: dict[str, Any], *, nullable: bool) -> dict[str, Any]:
    """Return the schema of an option with its default in words: generated clients require fields that have defaults.

    A form has no null: a field is sent or omitted, and "Try it out" sends each with its default, or empty.
    """
    kinds = [kind for kind in field.get("anyOf", []) if nullable or kind != {"type": "null"}]
    rest = {key: value for key, value in field.items() if key not in {"anyOf", "default"}}
    if field.get("default") is not None:
        rest["description"] = f"{field['description']} Default: {json.dumps(field['default'])}."
    if not nullable and "default" in field:
        rest["example"] = field["default"] if field["default"] is not None else ""
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


def _operation(tag: str, summary: str, content: dict[str, Any], refusals: Iterable[HTTPStatus]) -> dict[str, Any]:
    answer = {"200": {"description": "The answer.", "content": content}}
    error = {JSON: {"schema": _reference(ErrorResponse)}}
    refused = {str(status.value): {"description": _codes(status), "content": error} for status in refusals}
    return {"tags": [tag], "summary": summary, "responses": answer | refused}


def _codes(status: HTTPStatus) -> str:
    codes = [kind.code for kind, of_kind in STATUS.items() if of_kind == status]
    return f"error.code is {' or '.join(codes or [framework_error(status).error.code])}."


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}

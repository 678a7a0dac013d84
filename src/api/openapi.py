"""The OpenAPI document of the service: every route, field and status, from the schemas themselves."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from src.api.body import FORM, JSON
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
from src.options import Method

__all__ = ["openapi_document"]

# The cat of docs/cat.jpg, 48 pixels wide, as WebP: what "Try it out" sends.
_SMALL_IMAGE: Final = (
    "UklGRqIBAABXRUJQVlA4IJYBAAAwCgCdASowADAAPu1urVKppiOio4z5MB2JYwC7NBR9aGs/wJnJdVTLRMvtYJm7wTg3cM1cldxV1pIsrCEbuw4k"
    "rdwJrDNiYdF0YefxxX+aRtXVPZbdkxiSm4AA+ez2I4VH92UaW74DxMSljkducP82ymkrBNjcWoRn/4NEaTJ90feUvJLuIiztczvhFblMSHnsiUqM"
    "C9CrsdFTNYvX25gfwVxRwZpGZOGjFCAuawaOrRBaiVw+xRb4CalhEpIPHaLQpS2k+UFBOnsZoSIRfEVVNZ198m+CewJ5yjsZ56YCEOLCqVGMWtWy"
    "wja91tUU/symZjHedCnINF5mPrX49qH6bmiQcZR3GbMI9cevTNq9WKU1WrPTrWMrfvf+PquGPLzDI9dbKfiTYWPQa/kY1pSCJ2NBl0X2aUdwkA3N"
    "4JYuSO3J5v9cKiHaTzKtPRw7v7x6/+0tmAOSd6PeYHMcHY4MccnxPPctJ3TGM5csC34RBu3CnpoCdMDo2xxgQtTt61sialbQh0HB64ZO/ojNqcfx"
    "nSKuCnAA"
)
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
    definitions = schemas["$defs"]
    for model in requests:
        fields = definitions[model.__name__]["properties"]
        fields.update({name: _field(field, nullable=model is not FileRequest) for name, field in fields.items()})
    # Generators of clients would make the same name of gradcam and gradcam++.
    definitions[Method.__name__]["x-enum-varnames"] = [method.name for method in Method]
    one, batch = ({"img": _SMALL_IMAGE, "top_k": 3}, {"imgs": [_SMALL_IMAGE] * 2, "top_k": 3})
    recognize = {
        "/image_recognition": _post("Recognize one image.", RecognitionResponse, _json(RecognitionRequest, one)),
        "/image_recognition_file": _post(
            "Recognize an image file.",
            RecognitionResponse,
            {FORM: {"schema": _reference(FileRequest)}},
            "The body may also be the image itself, as image/* or application/octet-stream, with options in the query.",
        ),
        "/image_recognition_batch": _post("Recognize several images.", BatchResponse, _json(BatchRequest, batch)),
    }
    return {
        "openapi": "3.1.0",
        "servers": [{"url": "."}],  # wherever a proxy has put the document
        "info": {
            "title": "Image recognition",
            "version": "1",
            "description": "What is in an image, how sure the model is, and which pixels spoke for it.",
        },
        "paths": {
            **recognize,
            "/model": {"get": _operation("The model that answers, and how it runs.", ModelResponse, _ALWAYS)},
            **{path: {"get": _plain(summary)} for path, summary in _PROBES.items()},
        },
        "components": {
            "schemas": definitions,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}] if keyed else [{}, {"key": []}],
    }


def _post(summary: str, answered: type[BaseModel], content: dict[str, Any], description: str = "") -> dict[str, Any]:
    operation = _operation(summary, answered, _REFUSALS) | ({"description": description} if description else {})
    return {"post": operation | {"requestBody": {"required": True, "content": content}}}


def _json(asked: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    return {JSON: {"schema": _reference(asked), "example": example}}


def _field(field: dict[str, Any], *, nullable: bool) -> dict[str, Any]:
    """Return the schema of an option, its default in words: generated clients take what has a default as always there.

    A form has no null: there a field is sent or not.
    """
    kinds = [kind for kind in field.get("anyOf", []) if nullable or kind != {"type": "null"}]
    rest = {key: value for key, value in field.items() if key not in {"anyOf", "default"}}
    if field.get("default") is not None:
        rest["description"] = f"{field['description']} Default: {json.dumps(field['default'])}."
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


def _operation(summary: str, answered: type[BaseModel], refusals: Iterable[HTTPStatus]) -> dict[str, Any]:
    answer = {"200": {"description": "The answer.", "content": {JSON: {"schema": _reference(answered)}}}}
    return {"summary": summary, "responses": answer | _refused(refusals)}


def _plain(summary: str) -> dict[str, Any]:
    answer = {"200": {"description": "Yes.", "content": {"text/plain": {}}}}
    return {"summary": summary, "responses": answer | _refused(_ALWAYS)}


def _refused(statuses: Iterable[HTTPStatus]) -> dict[str, Any]:
    content = {JSON: {"schema": _reference(ErrorResponse)}}
    return {str(status.value): {"description": _codes(status), "content": content} for status in statuses}


def _codes(status: HTTPStatus) -> str:
    codes = [kind.code for kind, of_kind in STATUS.items() if of_kind == status]
    return f"error.code is {' or '.join(codes or [framework_error(status).error.code])}."


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}

"""The OpenAPI document."""

import json

import pytest
from openapi_spec_validator import validate
from pydantic import TypeAdapter

from src.api.errors import STATUS
from src.api.openapi import openapi_document
from src.api.schemas import RecognitionRequest
from src.options import Options

DOCUMENT = openapi_document()


def test_it_is_valid_openapi() -> None:
    """The document is valid by the OpenAPI specification, references included."""
    validate(DOCUMENT)


@pytest.mark.parametrize("path", ["/image_recognition", "/image_recognition_file", "/image_recognition_batch"])
def test_every_status_is_described(path: str) -> None:
    """Success and every status that an error of ours has stand in the document, with the code of the error."""
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    assert set(responses) == {"200", "500", "503"} | {str(status.value) for status in STATUS.values()}
    for kind, status in STATUS.items():
        assert kind.code in responses[str(status.value)]["description"]


def test_the_key_is_described() -> None:
    """The scheme of the key stands in the document: needed where the service has one, else allowed."""
    assert DOCUMENT["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert DOCUMENT["security"] == [{}, {"key": []}]
    assert openapi_document(keyed=True)["security"] == [{"key": []}]
    validate(openapi_document(keyed=True))


def test_every_field_is_described() -> None:
    """Each field of a request stands in the document with what it means and its range."""
    properties = DOCUMENT["components"]["schemas"]["RecognitionRequest"]["properties"]
    assert set(properties) == set(RecognitionRequest.model_fields)
    assert all(properties[name]["description"] for name in Options.model_fields)
    assert (properties["alpha"]["minimum"], properties["alpha"]["maximum"]) == (0, 1)
    assert DOCUMENT["components"]["schemas"]["FileRequest"]["properties"]["img"]["format"] == "binary"


def test_it_is_json() -> None:
    """The document is nothing but JSON."""
    TypeAdapter(dict[str, object]).validate_json(json.dumps(DOCUMENT))

"""The OpenAPI document."""

import json
from io import BytesIO

import pytest
from openapi_spec_validator import validate
from PIL import Image
from pydantic import TypeAdapter

from src.api.errors import STATUS
from src.api.openapi import openapi_document
from src.api.schemas import RecognitionRequest
from src.options import Options
from src.stages.decode import decode_base64

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


def test_the_service_is_where_the_document_is() -> None:
    """The one server is relative, so that a proxy may put the service below any prefix."""
    assert DOCUMENT["servers"] == [{"url": "."}]


@pytest.mark.parametrize("name", ["RecognitionResponse", "ErrorResponse", "BatchResponse", "ModelResponse"])
def test_an_answer_always_says_whether_it_is_one(name: str) -> None:
    """Generated clients can tell an answer from an error by success."""
    assert "success" in DOCUMENT["components"]["schemas"][name]["required"]
    assert "heatmap" not in DOCUMENT["components"]["schemas"]["ClassResponse"]["required"]


def test_a_form_has_no_null() -> None:
    """What is not sent in a form is absent; in JSON it may be null."""
    schemas = DOCUMENT["components"]["schemas"]
    assert '"null"' not in json.dumps(schemas["FileRequest"])
    assert '"null"' in json.dumps(schemas["RecognitionRequest"])


@pytest.mark.parametrize("name", ["RecognitionRequest", "FileRequest", "BatchRequest"])
def test_options_need_not_be_sent(name: str) -> None:
    """No option has a default for generators, which take it as always there; the description has it in words."""
    properties = DOCUMENT["components"]["schemas"][name]["properties"]
    assert not [field for field, schema in properties.items() if "default" in schema]
    assert properties["alpha"]["description"].endswith("Default: 0.4.")


def test_the_example_is_an_image() -> None:
    """What "Try it out" sends is within the schema, and its image decodes."""
    example = DOCUMENT["paths"]["/image_recognition"]["post"]["requestBody"]["content"]["application/json"]["example"]
    with Image.open(BytesIO(decode_base64(RecognitionRequest.model_validate(example).img))) as image:
        assert image.size == (48, 48)


def test_it_is_json() -> None:
    """The document is nothing but JSON."""
    TypeAdapter(dict[str, object]).validate_json(json.dumps(DOCUMENT))


def test_every_method_has_a_name_of_its_own_in_clients() -> None:
    """Generated clients name the members of an enumeration as they are told; gradcam++ has signs that names lack."""
    schema = openapi_document()["components"]["schemas"]["Method"]
    assert schema["x-enum-varnames"] == ["GRADCAM", "HIRESCAM", "LAYERCAM", "GRADCAM_PLUS_PLUS", "XGRADCAM"]
    assert schema["enum"] == ["gradcam", "hirescam", "layercam", "gradcam++", "xgradcam"]

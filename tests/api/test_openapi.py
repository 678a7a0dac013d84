"""The OpenAPI document."""

import json
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import BaseModel, TypeAdapter

from src.api.errors import STATUS
from src.api.examples import MODEL, ONE, ONE_ANSWER, SEVERAL, SEVERAL_ANSWERS
from src.api.openapi import openapi_document
from src.api.schemas.answers import BatchResponse, RecognitionResponse
from src.api.schemas.requests import RecognitionRequest
from src.options import Options
from src.stages.decode import decode_base64

DOCUMENT = openapi_document()


def validate(document: dict[str, Any]) -> None:
    """Check that ``document`` is valid OpenAPI."""
    import openapi_spec_validator  # noqa: PLC0415 - takes over a second, in each process that collects tests

    openapi_spec_validator.validate(document)


def test_the_document_is_valid_openapi() -> None:
    """The document is valid OpenAPI, including its references."""
    validate(DOCUMENT)


@pytest.mark.parametrize("path", ["/image_recognition", "/image_recognition_file", "/image_recognition_batch"])
def test_every_status_is_described(path: str) -> None:
    """The document describes success and every status of our errors, with the error code."""
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    assert set(responses) == {"200", "500", "503"} | {str(status.value) for status in STATUS.values()}
    for kind, status in STATUS.items():
        assert kind.code in responses[str(status.value)]["description"]


def test_the_key_is_described() -> None:
    """The document has the scheme of the key, as required if the service has a key, otherwise as optional."""
    assert DOCUMENT["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert DOCUMENT["security"] == [{}, {"key": []}]
    assert openapi_document(keyed=True)["security"] == [{"key": []}]
    validate(openapi_document(keyed=True))


def test_every_field_is_described() -> None:
    """The document describes the meaning and the range of each field of a request."""
    properties = DOCUMENT["components"]["schemas"]["RecognitionRequest"]["properties"]
    assert set(properties) == set(RecognitionRequest.model_fields)
    assert all(properties[name]["description"] for name in Options.model_fields)
    assert (properties["alpha"]["minimum"], properties["alpha"]["maximum"]) == (0, 1)
    assert DOCUMENT["components"]["schemas"]["FileRequest"]["properties"]["img"]["format"] == "binary"


def test_the_server_is_relative_to_the_document() -> None:
    """The only server is relative, so that a proxy may serve below any prefix."""
    assert DOCUMENT["servers"] == [{"url": "."}]


@pytest.mark.parametrize("name", ["RecognitionResponse", "ErrorResponse", "BatchResponse", "ModelResponse"])
def test_success_distinguishes_answers_from_errors(name: str) -> None:
    """Generated clients can distinguish an answer from an error by success."""
    assert "success" in DOCUMENT["components"]["schemas"][name]["required"]
    assert "heatmap" not in DOCUMENT["components"]["schemas"]["ClassResponse"]["required"]


def test_forms_have_no_null() -> None:
    """A field that is not sent in a form is absent; in JSON it may be null."""
    schemas = DOCUMENT["components"]["schemas"]
    assert '"null"' not in json.dumps(schemas["FileRequest"])
    assert '"null"' in json.dumps(schemas["RecognitionRequest"])


@pytest.mark.parametrize("name", ["RecognitionRequest", "FileRequest", "BatchRequest"])
def test_options_are_optional_for_generated_clients(name: str) -> None:
    """Options have no default in the schema, because generators would require them; the description has it."""
    properties = DOCUMENT["components"]["schemas"][name]["properties"]
    assert not [field for field, schema in properties.items() if "default" in schema]
    assert properties["alpha"]["description"].endswith("Default: 0.4.")


OPERATIONS = [pytest.param(one, id=path) for path, of_path in DOCUMENT["paths"].items() for one in of_path.values()]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_route_has_a_tag_a_title_and_an_example(operation: dict[str, Any]) -> None:
    """Each route has a tag, a one-sentence summary and an example answer."""
    assert set(operation["tags"]) < {tag["name"] for tag in DOCUMENT["tags"]}
    assert operation["summary"].endswith(".")
    (content,) = operation["responses"]["200"]["content"].values()
    assert content["example"]


@pytest.mark.parametrize(("answer", "model"), [(ONE_ANSWER, RecognitionResponse), (SEVERAL_ANSWERS, BatchResponse)])
def test_an_example_has_every_field_of_an_answer(answer: dict[str, Any], model: type[BaseModel]) -> None:
    """An example has the fields of a serialized answer."""
    assert model.model_validate(answer).model_dump(mode="json", by_alias=True) == answer


def test_the_example_is_an_answer_of_the_default_network(client: httpx.Client) -> None:
    """The answer to "Try it out" equals the example, except for the image, the version and the last digits."""
    shown = client.post("/image_recognition_batch", json=SEVERAL).json()
    answer, refused = shown["results"]
    assert refused == SEVERAL_ANSWERS["results"][1]
    assert answer.keys() == ONE_ANSWER.keys()
    for key in ("result", "explained", "image"):
        assert answer[key] == ONE_ANSWER[key]
    for given, expected in zip(answer["detail"], ONE_ANSWER["detail"], strict=True):
        assert given == expected | {"prob": pytest.approx(expected["prob"], abs=0.1)}
    model = client.get("/model").json()
    assert model["labels"][: len(MODEL["labels"])] == MODEL["labels"]
    own = {"model", "labels", "runtime", "device"}
    assert {key: model[key] for key in model.keys() - own} == {key: MODEL[key] for key in MODEL.keys() - own}


def test_form_fields_have_their_defaults_as_examples() -> None:
    """Every field of a form has its default as its example, or an empty one, for "Try it out"."""
    fields = DOCUMENT["components"]["schemas"]["FileRequest"]["properties"]
    assert (fields["alpha"]["example"], fields["target"]["example"]) == (0.4, "")
    assert [name for name, field in fields.items() if "example" not in field] == ["img"]


def test_the_example_is_an_image() -> None:
    """The request of "Try it out" conforms to the schema, and its image decodes."""
    with Image.open(BytesIO(decode_base64(RecognitionRequest.model_validate(ONE).img))) as image:
        assert image.size == (48, 48)


def test_the_document_is_json() -> None:
    """The document consists of JSON values only."""
    TypeAdapter(dict[str, object]).validate_json(json.dumps(DOCUMENT))


def test_methods_have_distinct_names_in_generated_clients() -> None:
    """Enumeration members have explicit names, because gradcam++ is not a valid name."""
    schema = openapi_document()["components"]["schemas"]["Method"]
    assert schema["x-enum-varnames"] == ["GRADCAM", "HIRESCAM", "LAYERCAM", "GRADCAM_PLUS_PLUS", "XGRADCAM"]
    assert schema["enum"] == ["gradcam", "hirescam", "layercam", "gradcam++", "xgradcam"]

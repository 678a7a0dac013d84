"""The OpenAPI document."""

import json
from io import BytesIO
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate
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


OPERATIONS = [pytest.param(one, id=path) for path, of_path in DOCUMENT["paths"].items() for one in of_path.values()]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_route_has_a_tag_a_title_and_an_example(operation: dict[str, Any]) -> None:
    """The page groups each route, says what it does in one sentence, and shows an answer."""
    assert set(operation["tags"]) < {tag["name"] for tag in DOCUMENT["tags"]}
    assert operation["summary"].endswith(".")
    (content,) = operation["responses"]["200"]["content"].values()
    assert content["example"]


@pytest.mark.parametrize(("answer", "model"), [(ONE_ANSWER, RecognitionResponse), (SEVERAL_ANSWERS, BatchResponse)])
def test_an_example_has_every_field_of_an_answer(answer: dict[str, Any], model: type[BaseModel]) -> None:
    """An example is an answer as the service writes it."""
    assert model.model_validate(answer).model_dump(mode="json", by_alias=True) == answer


def test_the_example_is_what_the_default_network_answers(client: httpx.Client) -> None:
    """What "Try it out" sends is answered as the page shows it, but for the image, the version and the last digits."""
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


def test_a_form_begins_with_the_defaults() -> None:
    """Each option of a form has its default as the example, or nothing: "Try it out" fills every field."""
    fields = DOCUMENT["components"]["schemas"]["FileRequest"]["properties"]
    assert (fields["alpha"]["example"], fields["target"]["example"]) == (0.4, "")
    assert [name for name, field in fields.items() if "example" not in field] == ["img"]


def test_the_example_is_an_image() -> None:
    """What "Try it out" sends is within the schema, and its image decodes."""
    with Image.open(BytesIO(decode_base64(RecognitionRequest.model_validate(ONE).img))) as image:
        assert image.size == (48, 48)


def test_it_is_json() -> None:
    """The document is nothing but JSON."""
    TypeAdapter(dict[str, object]).validate_json(json.dumps(DOCUMENT))


def test_every_method_has_a_name_of_its_own_in_clients() -> None:
    """Generated clients name the members of an enumeration as they are told; gradcam++ has signs that names lack."""
    schema = openapi_document()["components"]["schemas"]["Method"]
    assert schema["x-enum-varnames"] == ["GRADCAM", "HIRESCAM", "LAYERCAM", "GRADCAM_PLUS_PLUS", "XGRADCAM"]
    assert schema["enum"] == ["gradcam", "hirescam", "layercam", "gradcam++", "xgradcam"]

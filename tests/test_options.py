"""What may be asked, and what may not."""

import pytest
from pydantic import ValidationError

from src.api.schemas import BatchRequest, RecognitionRequest
from src.options import Colormap, ImageFormat, Options


def test_the_defaults_are_those_of_the_contract() -> None:
    """Nothing asked for means: predicted class, heat at 0.4 in jet, a JPEG of 1,024 pixels, no numbers."""
    assert Options() == Options(
        top_k=None,
        target=None,
        gradcam=True,
        alpha=0.4,
        colormap=Colormap.JET,
        format=ImageFormat.JPEG,
        max_side=1024,
        heatmaps=False,
    )


@pytest.mark.parametrize("target", ["bus", 7, "7", None])
def test_a_target_keeps_its_type(target: str | int | None) -> None:
    """A label stays a text and an index a number."""
    assert Options.model_validate_json(Options(target=target).model_dump_json()).target == target


@pytest.mark.parametrize(
    "fault",
    [
        '"top_k": 0',
        '"top_k": "5"',
        '"top_k": 1.5',
        '"top_k": true',
        '"target": true',
        '"target": 1.5',
        '"target": ["bus"]',
        '"gradcam": "yes"',
        '"gradcam": 1',
        '"alpha": -0.1',
        '"alpha": 1.1',
        '"alpha": NaN',
        '"alpha": "0.5"',
        '"colormap": "rainbow"',
        '"format": "gif"',
        '"max_side": 0',
        '"heatmaps": null',
        '"imgs": ["x"]',
        '"colour": "jet"',
    ],
)
def test_a_wrong_field_is_refused(fault: str) -> None:
    """A value of the wrong type or out of range, or an unknown field, is an error."""
    RecognitionRequest.model_validate_json('{"img": "x"}')
    with pytest.raises(ValidationError):
        RecognitionRequest.model_validate_json(f'{{"img": "x", {fault}}}')


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "{}", '{"img": 1}', '{"img": null}', '{"img": ["x"]}'])
def test_a_request_needs_a_picture(body: str) -> None:
    """A body that is no JSON object with the picture as text is an error."""
    with pytest.raises(ValidationError):
        RecognitionRequest.model_validate_json(body)


@pytest.mark.parametrize("body", ['{"imgs": []}', '{"imgs": "x"}', '{"imgs": [1]}', '{"img": "x"}'])
def test_a_batch_needs_pictures(body: str) -> None:
    """A batch without pictures is an error."""
    with pytest.raises(ValidationError):
        BatchRequest.model_validate_json(body)

"""Which options a request may have, and which values."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import to_json

from src.api.schemas.requests import BatchRequest, RecognitionRequest
from src.options import Colormap, ImageFormat, Options

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
RIGHT = st.fixed_dictionaries(
    {"img": st.text(max_size=50)},
    optional={
        "top_k": st.none() | st.integers(1, 10**6),
        "target": st.none() | st.integers(-5, 10**6) | st.text(max_size=20),
        "gradcam": st.booleans(),
        "alpha": st.floats(0, 1) | st.sampled_from([0, 1]),
        "colormap": st.sampled_from([name.value for name in Colormap]),
        "format": st.sampled_from([name.value for name in ImageFormat]),
        "max_side": st.integers(1, 10**6),
        "heatmaps": st.booleans(),
    },
)
FIELDS = st.sampled_from(sorted(RecognitionRequest.model_fields)) | st.text(max_size=10)


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
        '"color": "jet"',
    ],
)
def test_a_wrong_field_is_refused(fault: str) -> None:
    """A value of the wrong type or out of range, or an unknown field, is an error."""
    RecognitionRequest.model_validate_json('{"img": "x"}')
    with pytest.raises(ValidationError):
        RecognitionRequest.model_validate_json(f'{{"img": "x", {fault}}}')


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "{}", '{"img": 1}', '{"img": null}', '{"img": ["x"]}'])
def test_a_request_needs_an_image(body: str) -> None:
    """A body that is no JSON object with the image as text is an error."""
    with pytest.raises(ValidationError):
        RecognitionRequest.model_validate_json(body)


@pytest.mark.parametrize("body", ['{"imgs": []}', '{"imgs": "x"}', '{"imgs": [1]}', '{"img": "x"}'])
def test_a_batch_needs_images(body: str) -> None:
    """A batch without images is an error."""
    with pytest.raises(ValidationError):
        BatchRequest.model_validate_json(body)


@given(RIGHT)
def test_every_right_request_is_read_as_it_was_written(fields: dict[str, Any]) -> None:
    """Whatever is within the contract is accepted, and each value keeps its type."""
    asked = RecognitionRequest.model_validate_json(to_json(fields))
    for name, value in fields.items():
        read = getattr(asked, name)
        assert read == value
        assert isinstance(read, bool) == isinstance(value, bool)
        assert isinstance(read, str) == isinstance(value, str)


@given(RIGHT, st.dictionaries(FIELDS, VALUES, min_size=1, max_size=3))
def test_any_other_request_is_refused_or_within_the_contract(fields: dict[str, Any], more: dict[str, Any]) -> None:
    """With any value in any field a request is refused, or all that is read from it is within its bounds."""
    try:
        asked = RecognitionRequest.model_validate_json(to_json(fields | more))
    except ValidationError:
        return
    assert set(more) <= set(RecognitionRequest.model_fields)
    assert isinstance(asked.img, str)
    assert asked.top_k is None or asked.top_k >= 1
    assert 0 <= asked.alpha <= 1
    assert asked.max_side >= 1
    assert asked.target is None or type(asked.target) in {int, str}
    assert (type(asked.gradcam), type(asked.heatmaps)) == (bool, bool)

"""Validation of input specifications."""

from typing import Any

import pytest
from pydantic import ValidationError

from src.stages.features import FeatureLayout
from src.stages.input_spec import InputSpec
from src.store.manifest import SCHEMA_VERSION, Manifest

FIELDS: dict[str, Any] = {
    "resize": 256,
    "crop": (224, 224),
    "interpolation": "bicubic",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
}


@pytest.mark.parametrize("resize", [256, 224, (256, 256), (224, 300)])
def test_a_specification_survives_json(resize: int | tuple[int, int]) -> None:
    """The JSON of a specification is read back unchanged, for both rules of resizing."""
    spec = InputSpec(**FIELDS | {"resize": resize})
    assert InputSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"resize": 223},
        {"resize": (256, 223)},
        {"resize": -1},
        {"crop": (0, 224)},
        {"std": (0.5, 0, 0.5)},
        {"mean": (0.5, 0.5)},
        {"channels": 1},
        {"channels": 2, "mean": (0.5, 0.5), "std": (0.5, 0.5)},
        {"interpolation": "magic"},
        {"scale": 255},
    ],
    ids=str,
)
def test_an_invalid_specification_is_refused(change: dict[str, Any]) -> None:
    """A crop larger than the resized image, a standard deviation of zero, and an unknown filter or field are errors."""
    with pytest.raises(ValidationError):
        InputSpec(**FIELDS | change)


def test_a_manifest_needs_labels() -> None:
    """A network without classes is not a classifier."""
    with pytest.raises(ValidationError):
        Manifest(
            architecture="x",
            labels=(),
            input=InputSpec(**FIELDS),
            layer="x",
            features=FeatureLayout(axes="NKhw", channels=1, height=2, width=2),
            schema_version=SCHEMA_VERSION,
            runtime="torch",
            head="gradient",
            torch="2.8",
            sha256={},
        )

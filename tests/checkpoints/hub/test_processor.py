"""The image processors of transformers."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.checkpoints.hub import processor
from src.errors import ModelError, Remedy


def _refusing(error: Exception) -> Callable[..., object]:
    def refuse(*_: object, **__: object) -> object:
        raise error

    return refuse


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("Unrecognized image processor"), "is not part of transformers: name one that is"),
        (OSError("no preprocessor_config.json"), "transformers has no default for it: write one with"),
    ],
)
def test_what_is_offered_for_an_unknown_processor_works(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Options of the preprocessing would not be read for such a folder, so they are not offered."""
    auto = SimpleNamespace(from_pretrained=_refusing(error))
    library = SimpleNamespace(AutoImageProcessor=auto, IMAGE_PROCESSOR_MAPPING={})
    monkeypatch.setattr(processor, "transformers", lambda: library)
    with pytest.raises(ModelError, match=message) as refused:
        processor.read_preparation(tmp_path, object())
    assert refused.value.remedies == (Remedy("module"),)

"""The choice of an engine where torch is not installed, as in the image that is made by default."""

import sys
from typing import Any

import pytest

from src.errors import ModelError
from src.model.engines import choose
from src.model.manifest import InputSpec, Manifest

SPEC = InputSpec(resize=64, crop=(64, 64), interpolation="bilinear", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


def manifest(**values: Any) -> Manifest:
    """Return the manifest of a network that runs without torch, but for ``values``."""
    needed = {"architecture": "a/b", "labels": ("bus",), "input": SPEC, "layer": "c", "sha256": {}}
    return Manifest(**needed | {"engine": "openvino", "head": "closed_form"} | values)


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an import of torch fail."""
    monkeypatch.setitem(sys.modules, "torch", None)


def test_what_needs_no_torch_is_served_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO runs a network with a closed form, on the CPU of a machine with a GPU too."""
    assert choose(manifest(), "auto", "auto") == ("openvino", "cpu")
    monkeypatch.setattr("src.model.engines._NVIDIA", ("/dev/null",))
    assert choose(manifest(), "auto", "auto") == ("openvino", "cpu")


@pytest.mark.parametrize(
    ("network", "device", "runtime", "what"),
    [
        ({"head": "autograd"}, "auto", "auto", "This model"),
        ({"engine": "torch"}, "cpu", "auto", "This model"),
        ({}, "auto", "torch", "IMAGE_RECOGNITION_RUNTIME=torch"),
        ({}, "cuda", "auto", "IMAGE_RECOGNITION_DEVICE=cuda"),
    ],
)
def test_what_needs_torch_is_refused(network: dict[str, Any], device: Any, runtime: Any, what: str) -> None:
    """A head that torch explains, a network that torch runs, and the settings that ask for it name what to do."""
    with pytest.raises(ModelError, match=f"^{what} needs torch, which is not installed here: use the image of"):
        choose(manifest(**network), device, runtime)

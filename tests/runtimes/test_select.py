"""The choice of a runtime where torch is not installed, as in the image that is made by default."""

import sys
from typing import Any

import pytest
import torch

from src.errors import ModelError, Remedy
from src.runtimes.select import choose
from src.stages.features import FeatureLayout
from src.stages.input_spec import InputSpec
from src.store.manifest import SCHEMA_VERSION, Manifest

SPEC = InputSpec(resize=64, crop=(64, 64), interpolation="bilinear", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


def manifest(**values: Any) -> Manifest:
    """Return the manifest of a network that runs without torch, but for ``values``."""
    needed = {"schema_version": SCHEMA_VERSION, "architecture": "a/b", "labels": ("bus",), "input": SPEC, "layer": "c"}
    layout = FeatureLayout(axes="NKhw", channels=1, height=2, width=2)
    found = {"features": layout, "runtime": "openvino", "head": "gradient", "torch": "2.8", "sha256": {}}
    return Manifest(**needed | found | values)


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an import of torch fail."""
    monkeypatch.setitem(sys.modules, "torch", None)


def test_networks_in_openvino_are_served_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO runs a converted network, on the CPU of a machine with a GPU too."""
    assert choose(manifest(), "auto", "auto") == ("openvino", "cpu")
    monkeypatch.setattr("src.runtimes.select._NVIDIA", ("/dev/null",))
    assert choose(manifest(), "auto", "auto") == ("openvino", "cpu")


@pytest.mark.parametrize(
    ("network", "device", "runtime", "what"),
    [
        ({"runtime": "torch"}, "cpu", "auto", "This model"),
        ({}, "auto", "torch", "The runtime torch"),
        ({}, "cuda", "auto", "A GPU"),
    ],
)
def test_what_needs_torch_is_refused(network: dict[str, Any], device: Any, runtime: Any, what: str) -> None:
    """A network that torch runs, and the settings that ask for it, name what to do."""
    with pytest.raises(ModelError, match=f"^{what} needs torch, which is not installed here: use the image of"):
        choose(manifest(**network), device, runtime)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for a GPU where there is none is an error that knows what settles it."""
    monkeypatch.undo()
    with pytest.raises(ModelError, match=r"no CUDA GPU that torch can use\.") as refused:
        choose(manifest(), "cuda", "auto")
    assert refused.value.remedies == (Remedy("device", "auto"), Remedy("device", "cpu"))

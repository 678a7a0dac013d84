"""The choice of a runtime without torch, as in the default Docker image."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from src.errors import ModelError, Remedy
from src.runtimes.select import choose
from src.stages.features import FeatureLayout
from src.stages.input_spec import InputSpec
from src.store.manifest import SCHEMA_VERSION, Manifest
from tests.places import ROOT

SPEC = InputSpec(resize=64, crop=(64, 64), interpolation="bilinear", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


def manifest(**values: Any) -> Manifest:
    """Return the manifest of a network that runs without torch, changed by ``values``."""
    needed = {"schema_version": SCHEMA_VERSION, "architecture": "a/b", "labels": ("bus",), "input": SPEC, "layer": "c"}
    layout = FeatureLayout(axes="NKhw", channels=1, height=2, width=2)
    found = {"features": layout, "runtime": "openvino", "head": "gradient", "torch": "2.8", "sha256": {}}
    return Manifest(**needed | found | values)


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an import of torch fail."""
    monkeypatch.setitem(sys.modules, "torch", None)


def test_networks_in_openvino_are_served_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO runs a converted network, on the CPU even of a machine with a GPU."""
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
def test_networks_and_settings_that_need_torch_are_refused(
    network: dict[str, Any], device: Any, runtime: Any, what: str
) -> None:
    """The error of a network that needs torch, or of a setting that requires it, says what to do."""
    with pytest.raises(ModelError, match=f"^{what} needs torch, which is not installed here: use the image of"):
        choose(manifest(**network), device, runtime)


@pytest.mark.parametrize(("converted", "remedies"), [("openvino", ["device", "runtime"]), ("torch", ["runtime"])])
def test_openvino_on_a_gpu_is_refused_with_what_keeps_openvino(
    monkeypatch: pytest.MonkeyPatch, converted: str, remedies: list[str]
) -> None:
    """Whoever wants OpenVINO on a machine with a GPU learns that the device cpu gives it, if the network allows it."""
    monkeypatch.setattr("src.runtimes.select._on_gpu", lambda device: device != "cpu")
    with pytest.raises(ModelError, match="OpenVINO runs on the CPU here") as refused:
        choose(manifest(runtime=converted), "auto", "openvino")
    assert [remedy.field for remedy in refused.value.remedies] == remedies


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requesting a GPU that does not exist is an error with its remedies."""
    monkeypatch.undo()
    with pytest.raises(ModelError, match=r"no CUDA GPU that torch can use\.") as refused:
        choose(manifest(), "cuda", "auto")
    assert refused.value.remedies == (Remedy("device", "auto"), Remedy("device", "cpu"))


def test_the_supervising_process_loads_nothing_that_computes() -> None:
    """It checks the files of the model and chooses, which needs neither NumPy nor Pillow; the worker loads the rest."""
    code = "import sys; from src.store.files import checked_manifest; from src.runtimes.select import choose"
    code += "; from src.api.schemas import answers; print({'numpy', 'PIL', 'safetensors'} & sys.modules.keys())"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"

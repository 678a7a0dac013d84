"""Stored networks, running in either engine."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from src.cores import usable_cores
from src.errors import ModelError
from src.model.checkpoint import Checkpoint
from src.model.default import default_checkpoint
from src.model.draft import Draft, draft
from src.model.manifest import InputSpec
from src.model.network import build
from src.model.openvino_runtime import OpenVinoRuntime
from src.model.runtime import Evaluation, Runtime, start
from src.model.torch_runtime import TorchHead
from src.model.verify import answers, compare
from src.stages.gradcam import gradcam
from src.stages.transform import normalize
from tests.places import ROOT

CROP = (64, 64)
SPEC = InputSpec(resize=64, crop=CROP, interpolation="bilinear", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
# Heads: pooled and linear; with hidden layers; with a hardswish between; of tokens.
NETWORKS = {
    "torchvision/resnet18": ("openvino", "closed_form"),
    "torchvision/alexnet": ("openvino", "closed_form"),
    "torchvision/mobilenet_v3_small": ("openvino", "autograd"),
    "timm/test_vit": ("openvino", "autograd"),
}


def _checkpoint(architecture: str) -> Checkpoint:
    torch.manual_seed(0)
    size = (160, 160) if architecture == "timm/test_vit" else CROP
    weights = build(architecture, 3).state_dict()
    for name, tensor in weights.items():
        if name.endswith(("head.weight", "fc.weight")) and tensor.ndim == 2:  # some start with zeros
            tensor.copy_(torch.randn_like(tensor) / tensor.shape[1] ** 0.5)
    spec = SPEC.model_copy(update={"resize": size[0], "crop": size})
    return Checkpoint(architecture, ("bus", "car", "tram"), spec, weights)


@pytest.fixture(scope="module", params=NETWORKS)
def drafted(request: pytest.FixtureRequest) -> Iterator[Draft]:
    """Networks of every kind of head, verified."""
    with draft(_checkpoint(request.param)) as verified:
        yield verified


def _pixels(spec: InputSpec, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*spec.crop, 3), np.uint8)


def _start(drafted: Draft, **options: Any) -> Runtime:
    return start(drafted.folder, drafted.manifest, **{"threads": 1, "device": "cpu", **options})


def test_a_network_is_converted_with_its_head(drafted: Draft) -> None:
    """The network is converted for OpenVINO, and its head gets a closed form where it has one."""
    assert (drafted.manifest.engine, drafted.manifest.head) == NETWORKS[drafted.manifest.architecture]
    assert drafted.agreement is not None
    assert _start(drafted).name == "openvino"
    assert _start(drafted, runtime="torch").name == "torch"


def test_the_first_picture_is_run_before_there_are_threads(drafted: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting runs a picture: two threads that used OpenVINO's bindings first at the same time have hung for good."""
    threads: list[int] = []
    evaluate = OpenVinoRuntime.evaluate

    def noting(self: OpenVinoRuntime, pixels: NDArray[np.uint8], *, explained: bool) -> Evaluation:
        threads.append(threading.get_ident())
        return evaluate(self, pixels, explained=explained)

    monkeypatch.setattr(OpenVinoRuntime, "evaluate", noting)
    _start(drafted)
    assert threads == [threading.get_ident()]


def test_both_engines_answer_as_the_plain_network(drafted: Draft) -> None:
    """Logits are those of the untouched network on torchvision's input; both engines give the same heatmaps."""
    manifest = drafted.manifest
    pixels = _pixels(manifest.input)
    network = build(manifest.architecture, 3)
    network.load_state_dict(dict(_checkpoint(manifest.architecture).weights))
    with torch.no_grad():
        expected = network(torch.from_numpy(normalize(pixels, manifest.input))[None])[0].softmax(0).numpy()
    heats = []
    for runtime in ("openvino", "torch"):
        evaluation = _start(drafted, runtime=runtime).evaluate(pixels, explained=True)
        likelihoods = np.exp(evaluation.logits - evaluation.logits.max())
        np.testing.assert_allclose(likelihoods / likelihoods.sum(), expected, atol=1e-5)
        heats.append([gradcam(evaluation.features, evaluation.weights(index)).values for index in range(3)])
    assert np.any(heats[0])
    np.testing.assert_allclose(heats[0], heats[1], atol=1e-3)


def test_an_unexplained_evaluation_has_the_same_logits(drafted: Draft) -> None:
    """Leaving out the explanation changes no score."""
    running, pixels = _start(drafted), _pixels(drafted.manifest.input)
    explained, plain = (running.evaluate(pixels, explained=both) for both in (True, False))
    np.testing.assert_array_equal(explained.logits, plain.logits)


def test_eight_threads_get_what_one_gets(drafted: Draft) -> None:
    """Pictures evaluated by eight threads at once have the scores and weights of those evaluated one by one."""
    running = _start(drafted, threads=8)

    def evaluate(seed: int) -> tuple[list[float], list[float]]:
        evaluation = running.evaluate(_pixels(drafted.manifest.input, seed), explained=True)
        return evaluation.logits.tolist(), gradcam(evaluation.features, evaluation.weights(1)).values.ravel().tolist()

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(evaluate, range(24)))
    for one, other in zip(together, map(evaluate, range(24)), strict=True):
        np.testing.assert_allclose(one[0], other[0], atol=1e-5)
        np.testing.assert_allclose(one[1], other[1], atol=1e-4)


def test_evaluations_do_not_share_memory(drafted: Draft) -> None:
    """What a picture gave stays as it is when the same thread evaluates another one."""
    running = _start(drafted)
    first = running.evaluate(_pixels(drafted.manifest.input, 1), explained=True)
    kept = first.features.copy(), first.logits.copy()
    running.evaluate(_pixels(drafted.manifest.input, 2), explained=True)
    np.testing.assert_array_equal(first.features, kept[0])
    np.testing.assert_array_equal(first.logits, kept[1])


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_bf16_is_close_and_says_so(drafted: Draft, runtime: str) -> None:
    """In bf16 the scores are near those of fp32; where the CPU has no bf16 OpenVINO says that it computes in fp32."""
    pixels = _pixels(drafted.manifest.input)
    exact = _start(drafted).evaluate(pixels, explained=True)
    running = _start(drafted, runtime=runtime, precision="bf16")
    assert running.precision in {"bf16", "fp32"}
    scale = np.abs(exact.logits).max()
    np.testing.assert_allclose(running.evaluate(pixels, explained=True).logits, exact.logits, atol=0.1 * scale)


def test_openvino_needs_no_torch() -> None:
    """A network whose head has a closed form is served without importing torch, which takes seconds."""
    with draft(_checkpoint("torchvision/resnet18")) as verified:
        script = (
            "import sys; from pathlib import Path; import numpy as np;"
            "from src.model.files import checked_manifest; from src.model.runtime import start;"
            "folder = Path(sys.argv[1]); manifest = checked_manifest(folder);"
            "running = start(folder, manifest, threads=1, device='cpu');"
            "evaluation = running.evaluate(np.zeros((64, 64, 3), np.uint8), explained=True);"
            "assert evaluation.weights(0).shape == (512,);"
            "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", script, str(verified.folder)], cwd=ROOT, check=True)


def test_a_network_that_openvino_answers_otherwise_stays_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the converted network differs from torch's, nothing of it is kept and the manifest says why."""
    monkeypatch.setattr("src.model.verify._MAX_PROBABILITY", -1.0)
    with draft(_checkpoint("torchvision/resnet18")) as verified:
        assert (verified.manifest.engine, verified.agreement) == ("torch", None)
        assert "answers otherwise" in verified.manifest.note
        assert sorted(file.name for file in verified.folder.iterdir()) == ["manifest.json", "weights.safetensors"]
        assert _start(verified).name == "torch"
        with pytest.raises(ModelError, match=r"cannot run in OpenVINO \(In openvino the network answers otherwise"):
            _start(verified, runtime="openvino")


def test_comparing_finds_a_difference() -> None:
    """Two different networks are told apart."""
    with draft(_checkpoint("torchvision/resnet18")) as one, draft(_checkpoint("torchvision/alexnet")) as other:
        running = _start(one), _start(other)
    with pytest.raises(ModelError, match="answers otherwise"):
        compare(running[0], answers(running[1], CROP), CROP)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_explained() -> None:
    """Asking for a GPU where there is none is an error that says what to set."""
    message = "no CUDA GPU that torch can use: set IMAGE_RECOGNITION_DEVICE=auto"
    with draft(_checkpoint("torchvision/resnet18")) as verified, pytest.raises(ModelError, match=message):
        _start(verified, device="cuda")


@pytest.mark.parametrize("threads", [1, 2, 64])
def test_cores_are_shared_out_between_the_threads(threads: int) -> None:
    """Threads of requests times threads of torch are no more than there are cores, and at least one each."""
    before = torch.get_num_threads()
    try:
        TorchHead.start(torch.nn.Identity(), "cpu", threads)
        assert torch.get_num_threads() == min(before, max(1, usable_cores() // threads))
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_is_used_where_there_is_one(drafted: Draft) -> None:
    """With device auto the network runs on the GPU and answers as on the CPU."""
    pixels = _pixels(drafted.manifest.input)
    running = _start(drafted, device="auto")
    assert (running.name, running.device) == ("torch", "cuda")
    expected = _start(drafted).evaluate(pixels, explained=True)
    found = running.evaluate(pixels, explained=True)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-2)


def test_the_default_network_runs_in_openvino() -> None:
    """The default network is converted, in closed form, with the answers of torch."""
    with draft(default_checkpoint()) as verified:
        assert (verified.manifest.engine, verified.manifest.head) == ("openvino", "closed_form")
        assert verified.agreement is not None
        assert verified.agreement.probability < 1e-5
        assert verified.agreement.heat < 1e-4

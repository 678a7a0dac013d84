"""Stored networks, running in either engine."""

import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openvino as ov
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from src.checkpoints.checkpoint import Checkpoint
from src.checkpoints.network import build
from src.conversion.capture import capture
from src.conversion.cut import cut
from src.conversion.draft import Draft, draft
from src.conversion.verify import answers, compare
from src.cores import usable_cores
from src.errors import ModelError, Remedy
from src.runtimes.base import Runtime
from src.runtimes.openvino import OpenVinoGraphs
from src.runtimes.select import start
from src.saving.randomize import randomized
from src.stages.gradcam import gradcam
from src.stages.input_spec import InputSpec
from src.store import bundle
from src.store.files import GRADIENT, GRADIENT_PROGRAM, NETWORK, NETWORK_PROGRAM, WEIGHTS, sha256
from tests.places import ROOT
from tests.serving import running_server

CROP = (64, 64)
SPEC = InputSpec(resize=64, crop=CROP, interpolation="bilinear", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
# Heads: pooled and linear; with hidden layers; with a hardswish between; of tokens.
NETWORKS = {
    "timm/test_resnet": ("openvino", "closed_form"),
    "own/hidden": ("openvino", "closed_form"),
    "own/hardswish": ("openvino", "gradient"),
    "timm/test_vit": ("openvino", "gradient"),
}

# What does not depend on the head.
_ONE = pytest.mark.parametrize("drafted", ["timm/test_resnet"], indirect=True)


def _own(activation: nn.Module) -> nn.Module:
    """Return a small network with a hidden layer and ``activation`` behind its features."""
    features = nn.Conv2d(3, 16, 7, 4), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU()
    head = nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 64), activation, nn.Linear(64, 3)
    return nn.Sequential(*features, *head).eval().requires_grad_(requires_grad=False)


def _network(architecture: str) -> nn.Module:
    if architecture.startswith("own/"):
        return _own(nn.ReLU() if architecture == "own/hidden" else nn.Hardswish())
    return build(architecture, 3)


def _checkpoint(architecture: str) -> Checkpoint:
    torch.manual_seed(0)
    size = (160, 160) if architecture == "timm/test_vit" else CROP
    network = _network(architecture)
    for name, tensor in network.state_dict().items():
        if name.endswith(("head.weight", "fc.weight")) and tensor.ndim == 2:  # some start with zeros
            tensor.copy_(torch.randn_like(tensor) / tensor.shape[1] ** 0.5)
    spec = SPEC.model_copy(update={"resize": size[0], "crop": size})
    return Checkpoint(architecture, ("bus", "car", "tram"), spec, network)


@pytest.fixture(scope="module", params=NETWORKS)
def drafted(request: pytest.FixtureRequest) -> Iterator[Draft]:
    """Networks of every kind of head, verified."""
    with draft(_checkpoint(request.param)) as verified:
        yield verified


def _pixels(spec: InputSpec, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*spec.crop, 3), np.uint8)


def _start(drafted: Draft, **options: Any) -> Runtime:
    return start(drafted.folder, drafted.manifest, **{"threads": 1, "device": "cpu", **options})


Started = Callable[[str], Runtime]


@pytest.fixture(scope="module")
def started(drafted: Draft) -> Started:
    """The network in the runtime of a name, started once for all tests that only evaluate images."""
    return cache(lambda runtime: _start(drafted, runtime=runtime))


def test_a_network_is_converted_with_its_head(drafted: Draft, started: Started) -> None:
    """The network is converted for OpenVINO, and its head gets a closed form if it has one."""
    assert (drafted.manifest.runtime, drafted.manifest.head) == NETWORKS[drafted.manifest.architecture]
    assert _start(drafted).graphs.name == started("openvino").graphs.name == "openvino"
    assert started("torch").graphs.name == "torch"


def test_a_model_says_whether_its_map_is_complete(drafted: Draft) -> None:
    """Only with pooling and one linear layer do the map and the bias sum to the logit."""
    assert drafted.manifest.exact == (drafted.manifest.architecture == "timm/test_resnet")


@_ONE
def test_random_weights_keep_nothing_learned(drafted: Draft) -> None:
    """Every tensor has its values in another order; the stored model is unchanged."""
    before, pixels = sha256(drafted.folder / WEIGHTS), _pixels(SPEC)
    trained = _start(drafted, runtime="torch").evaluate(pixels)
    with randomized(drafted.folder, drafted.manifest) as runtime:
        found = runtime.evaluate(pixels)
        assert not np.allclose(found.logits, trained.logits, atol=1e-3)
        assert not np.allclose(found.weights(0), trained.weights(0), atol=1e-3)
    assert sha256(drafted.folder / WEIGHTS) == before


def test_the_first_image_is_run_before_there_are_threads(drafted: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting runs an image: two threads whose first use of OpenVINO's bindings overlapped have deadlocked."""
    threads: list[int] = []
    network = OpenVinoGraphs.network

    def noting(self: OpenVinoGraphs, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        threads.append(threading.get_ident())
        return network(self, pixels)

    monkeypatch.setattr(OpenVinoGraphs, "network", noting)
    _start(drafted)
    assert threads == [threading.get_ident()]


def test_both_runtimes_match_the_original_network(drafted: Draft, started: Started) -> None:
    """Logits equal the original network's on torchvision's input; both runtimes give the same heatmaps."""
    manifest = drafted.manifest
    pixels = _pixels(manifest.input)
    network = _checkpoint(manifest.architecture).network
    with torch.no_grad():
        expected = network(torch.from_numpy(manifest.input.normalize(pixels))[None])[0].softmax(0).numpy()
    heats = []
    for runtime in ("openvino", "torch"):
        evaluation = started(runtime).evaluate(pixels)
        likelihoods = np.exp(evaluation.logits - evaluation.logits.max())
        np.testing.assert_allclose(likelihoods / likelihoods.sum(), expected, atol=1e-5)
        heats.append([gradcam(evaluation.features, evaluation.weights(index)).values for index in range(3)])
    assert np.any(heats[0])
    np.testing.assert_allclose(heats[0], heats[1], atol=1e-3)


@_ONE
@pytest.mark.parametrize(("found", "taken"), [(True, "bf16"), (False, "fp32"), (None, "fp32")])
def test_auto_uses_bf16_if_a_check_found_it_harmless(drafted: Draft, taken: Any, *, found: bool | None) -> None:
    """Without that evidence, on a CPU without bf16, or in another runtime, the precision is fp32."""
    manifest = drafted.manifest.model_copy(update={"bf16": found})
    on_this_cpu = _start(drafted, precision=taken).graphs.precision
    assert start(drafted.folder, manifest, threads=1, device="cpu", precision="auto").graphs.precision == on_this_cpu
    by_torch = start(drafted.folder, manifest, threads=1, device="cpu", runtime="torch", precision="auto")
    assert by_torch.graphs.precision == "fp32"


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_the_weights_are_the_mean_of_the_gradient(drafted: Draft, started: Started, runtime: str) -> None:
    """For every class, a closed form equals the mean of the full gradient (K, h, w)."""
    evaluation = started(runtime).evaluate(_pixels(drafted.manifest.input))
    for index in range(3):
        gradient = evaluation.gradient(index)
        assert gradient.shape == evaluation.features.shape == drafted.manifest.features.shape
        mean = gradient.mean(axis=(1, 2))
        np.testing.assert_allclose(evaluation.weights(index), mean, atol=1e-5 * np.abs(mean).max())


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_a_contrast_of_classes_is_the_difference_of_their_gradients(
    drafted: Draft, started: Started, runtime: str
) -> None:
    """The evidence for one class and against another is the gradient of the difference of their scores."""
    evaluation = started(runtime).evaluate(_pixels(drafted.manifest.input))
    difference = evaluation.gradient(0) - evaluation.gradient(2)
    scale = np.abs(difference).max()
    np.testing.assert_allclose(evaluation.gradient(0, 2), difference, atol=1e-5 * scale)
    np.testing.assert_allclose(evaluation.weights(0, 2), difference.mean(axis=(1, 2)), atol=1e-5 * scale)


def test_the_graphs_accept_batches(drafted: Draft, started: Started) -> None:
    """Both graphs give three images of a batch the same results as single images."""
    core, spec = ov.Core(), drafted.manifest.input
    pixels = np.stack([_pixels(spec, seed) for seed in range(3)])
    network, gradient = (core.read_model(drafted.folder / name) for name in (NETWORK, GRADIENT))
    for model in (network, gradient):
        assert all(port.partial_shape[0].is_dynamic and port.partial_shape[1:].is_static for port in model.inputs)
        model.reshape({port: [3, *port.partial_shape[1:]] for port in model.inputs})
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    features, *_, logits = core.compile_model(network, "CPU", options)([pixels]).values()
    gradients = core.compile_model(gradient, "CPU", options)([features, np.eye(3, dtype=np.float32)])[0]
    running = started("openvino")
    for place, one in enumerate(pixels):
        alone = running.evaluate(one)
        scale = np.abs(alone.gradient(place)).max()
        np.testing.assert_allclose(logits[place], alone.logits, atol=1e-5)
        np.testing.assert_allclose(
            drafted.manifest.features.fold(gradients)[place], alone.gradient(place), atol=1e-5 * scale
        )


def test_a_batch_equals_its_single_images(drafted: Draft) -> None:
    """This also holds if OpenVINO cannot compile a graph for several images, such as the gradient of this ViT."""
    single, several = (OpenVinoGraphs(drafted.folder, "fp32", 1, batch) for batch in (1, 8))
    pixels = np.stack([_pixels(drafted.manifest.input, seed) for seed in range(3)])
    directions = np.eye(3, dtype=np.float32)
    features, *_, logits = several.network(pixels)
    gradients = several.gradient(features, directions)
    for row in range(3):
        one, *_, scores = single.network(pixels[row : row + 1])
        np.testing.assert_allclose(logits[row], scores[0], atol=1e-5)
        alone = single.gradient(one, directions[row : row + 1])[0]
        np.testing.assert_allclose(gradients[row], alone, atol=1e-5 * np.abs(alone).max())


def test_eight_threads_get_the_results_of_one(drafted: Draft) -> None:
    """Images evaluated by eight concurrent threads have the same scores and weights as in sequence."""
    running = _start(drafted, threads=8)

    def evaluate(seed: int) -> tuple[list[float], list[float]]:
        evaluation = running.evaluate(_pixels(drafted.manifest.input, seed))
        return evaluation.logits.tolist(), gradcam(evaluation.features, evaluation.weights(1)).values.ravel().tolist()

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(evaluate, range(24)))
    for one, other in zip(together, map(evaluate, range(24)), strict=True):
        np.testing.assert_allclose(one[0], other[0], atol=1e-5)
        np.testing.assert_allclose(one[1], other[1], atol=1e-4)


def test_evaluations_do_not_share_memory(drafted: Draft, started: Started) -> None:
    """The evaluation of an image does not change when the same thread evaluates another one."""
    running = started("openvino")
    first = running.evaluate(_pixels(drafted.manifest.input, 1))
    kept = first.features.copy(), first.logits.copy()
    running.evaluate(_pixels(drafted.manifest.input, 2))
    np.testing.assert_array_equal(first.features, kept[0])
    np.testing.assert_array_equal(first.logits, kept[1])


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_bf16_is_close_and_reported(drafted: Draft, started: Started, runtime: str) -> None:
    """The scores in bf16 are near those in fp32; on a CPU without bf16, OpenVINO reports fp32."""
    pixels = _pixels(drafted.manifest.input)
    exact = started("openvino").evaluate(pixels)
    running = _start(drafted, runtime=runtime, precision="bf16")
    native = runtime == "torch" or "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert running.graphs.precision == ("bf16" if native else "fp32")
    scale = np.abs(exact.logits).max()
    np.testing.assert_allclose(running.evaluate(pixels).logits, exact.logits, atol=0.1 * scale)


def test_openvino_does_not_import_torch(drafted: Draft) -> None:
    """Whatever its head, a network is served and explained without importing torch, which takes seconds."""
    script = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from src.store.files import checked_manifest; from src.runtimes.select import start;"
        "folder = Path(sys.argv[1]); manifest = checked_manifest(folder);"
        "running = start(folder, manifest, threads=1, device='cpu');"
        "evaluation = running.evaluate(np.zeros((*manifest.input.crop, 3), np.uint8));"
        "assert evaluation.weights(0).shape == manifest.features.shape[:1];"
        "assert evaluation.gradient(0).shape == manifest.features.shape;"
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(drafted.folder)], cwd=ROOT, check=True)


def _processes(parent: int) -> list[int]:
    """Return ``parent`` and all processes that it started, and that these did."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [parent, *(one for child in children.stdout.split() for one in _processes(int(child)))]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc, as Linux has it")
@pytest.mark.parametrize("drafted", ["timm/test_vit"], indirect=True)
def test_a_vit_is_served_and_explained_by_processes_without_torch(drafted: Draft, tmp_path: Path) -> None:
    """The service of a ViT answers with a heatmap, and none of its processes has loaded a library of torch."""
    tag = bundle.store(drafted.folder, drafted.manifest, "vit")
    with running_server(tmp_path, {"IMAGE_RECOGNITION_MODEL": tag}) as server:
        files = {"img": (ROOT / "docs" / "cat.jpg").read_bytes()}
        answer = httpx.post(f"{server.url}/image_recognition_file", files=files, timeout=30).json()
        assert answer["explained"]["class"] == answer["result"]
        found = _processes(server.process.pid)
        maps = "".join(Path(f"/proc/{process}/maps").read_text(encoding="utf-8") for process in found)
    assert len(found) > 1
    assert "openvino" in maps
    assert "libtorch" not in maps


def test_a_network_whose_conversion_differs_stays_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the converted network differs from torch's, it is discarded and the manifest says why."""

    def otherwise(self: OpenVinoGraphs, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        features, *hidden, logits = network(self, pixels)
        return (features, *hidden, logits + np.array([1, 0, 0], np.float32))

    network = OpenVinoGraphs.network
    monkeypatch.setattr(OpenVinoGraphs, "network", otherwise)
    with draft(_checkpoint("own/hidden")) as verified:
        assert verified.manifest.runtime == "torch"
        assert "answers differently" in verified.manifest.note
        assert sorted(file.name for file in verified.folder.iterdir()) == [
            *("closed_form.safetensors", "gradient.pt2", "manifest.json", "network.pt2", "weights.safetensors"),
        ]
        assert _start(verified).graphs.name == "torch"
        with pytest.raises(ModelError, match=r"cannot run in OpenVINO \(In openvino the network answers differently"):
            _start(verified, runtime="openvino")


@_ONE
def test_comparing_finds_a_difference(drafted: Draft, started: Started) -> None:
    """Two different networks are distinguished."""
    other = cut(capture(_own(nn.ReLU()), SPEC), SPEC)
    with pytest.raises(ModelError, match="answers differently"):
        compare(started("openvino"), answers(other, SPEC), drafted.manifest)


@_ONE
@pytest.mark.parametrize("threads", [1, 2, 64])
def test_cores_are_shared_between_the_threads(drafted: Draft, threads: int) -> None:
    """Threads of requests times threads of torch do not exceed the cores, with at least one each."""
    before = torch.get_num_threads()
    try:
        _start(drafted, runtime="torch", threads=threads)
        assert torch.get_num_threads() == min(before, max(1, usable_cores() // threads))
        torch.set_num_threads(8)
        _start(drafted, runtime="torch", threads=threads, cores=4)
        assert torch.get_num_threads() == max(1, 4 // threads)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_is_used_if_there_is_one(drafted: Draft) -> None:
    """With device auto, the network runs on the GPU and matches the CPU."""
    pixels = _pixels(drafted.manifest.input)
    running = _start(drafted, device="auto")
    assert (running.graphs.name, running.graphs.device) == ("torch", "cuda")
    expected = _start(drafted).evaluate(pixels)
    found = running.evaluate(pixels)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-2)


def _planted(file: Path, name: str, content: bytes) -> None:
    """Put ``content`` in the place of the entry ``name`` of an archive, or add it."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    top = next(iter(entries)).partition("/")[0]
    with zipfile.ZipFile(file, "w") as archive:
        for entry, kept in {**entries, f"{top}/{name}": content}.items():
            archive.writestr(entry, kept)


class _Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@_ONE
@pytest.mark.parametrize("program", [NETWORK_PROGRAM, GRADIENT_PROGRAM])
@pytest.mark.parametrize(
    "entry",
    [
        "data/sample_inputs/model.pt",
        "data/weights/model.pt",
        "data/constants/model.pt",
        "data/weights/weight_0",
        "data/constants/custom_obj_0",
        "data/aotinductor/model/wrapper.so",
    ],
)
def test_a_program_with_a_pickled_entry_is_refused(drafted: Draft, tmp_path: Path, program: str, entry: str) -> None:
    """A program's archive with a pickled entry of any name is not loaded, and nothing in it runs."""
    folder, trace = tmp_path / "model", tmp_path / "trace"
    shutil.copytree(drafted.folder, folder)
    buffer = BytesIO()
    torch.save(_Trap(trace), buffer)
    _planted(folder / program, entry, buffer.getvalue())
    with pytest.raises(ModelError, match="contains more than operations, and may run code"):
        start(folder, drafted.manifest, threads=1, device="cpu", runtime="torch")
    assert not trace.exists()


@_ONE
@pytest.mark.parametrize("kind", ["weights", "constants"])
def test_a_program_that_lists_a_pickled_tensor_is_refused(drafted: Draft, tmp_path: Path, kind: str) -> None:
    """A list of tensors to unpickle is not followed."""
    folder = tmp_path / "model"
    shutil.copytree(drafted.folder, folder)
    listed = {"config": {"x": {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}}}
    _planted(folder / NETWORK_PROGRAM, f"data/{kind}/model_{kind}_config.json", json.dumps(listed).encode())
    with pytest.raises(ModelError, match="contains more than operations, and may run code"):
        start(folder, drafted.manifest, threads=1, device="cpu", runtime="torch")


@_ONE
def test_a_program_with_a_pickled_entry_before_one_of_the_same_name_is_refused(drafted: Draft, tmp_path: Path) -> None:
    """An entry cannot be hidden behind another of its name in a second folder of the archive."""
    folder = tmp_path / "model"
    shutil.copytree(drafted.folder, folder)
    with zipfile.ZipFile(folder / NETWORK_PROGRAM) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / NETWORK_PROGRAM, "w") as archive:
        for name, content in {"other/data/sample_inputs/model.pt": b"a pickle", **entries}.items():
            archive.writestr(name, content)
    with pytest.raises(ModelError, match="contains more than operations, and may run code"):
        start(folder, drafted.manifest, threads=1, device="cpu", runtime="torch")


@_ONE
@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        (r"(?<=\"expr_str\": \")[^\"]*", "__import__('pathlib').Path('trace').touch()"),  # sympy evaluates it
        (r"\bp_\w+\b", "x=__import__('pathlib').Path('trace').touch()"),  # becomes a parameter of a function
        (r"torch\.ops\.aten\.[\w.]+", "torch.os.system('touch trace')"),
    ],
)
def test_a_program_with_python_among_its_operations_is_refused(
    drafted: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, code: str
) -> None:
    """Torch evaluates the sizes and writes the names of a program as Python: anything else than those is refused."""
    folder = tmp_path / "model"
    shutil.copytree(drafted.folder, folder)
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(folder / NETWORK_PROGRAM) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/models/model.json"))
        operations = json.dumps(json.loads(archive.read(name)))
    planted, count = re.subn(pattern, code, operations)
    assert count
    _planted(folder / NETWORK_PROGRAM, "models/model.json", planted.encode())
    with pytest.raises(ModelError, match="contains more than operations, and may run code"):
        start(folder, drafted.manifest, threads=1, device="cpu", runtime="torch")
    assert not (tmp_path / "trace").exists()


@_ONE
def test_a_program_of_another_torch_is_explained(drafted: Draft, tmp_path: Path) -> None:
    """A program that this torch cannot read is an error that names both versions."""
    folder = tmp_path / "model"
    shutil.copytree(drafted.folder, folder)
    _planted(folder / NETWORK_PROGRAM, "models/model.json", b"{}")
    version = re.escape(torch.__version__)
    with pytest.raises(ModelError, match=rf"torch {version} cannot read .* which torch {version} wrote"):
        start(folder, drafted.manifest, threads=1, device="cpu", runtime="torch")


@_ONE
def test_a_full_gpu_is_not_taken_for_another_torch(drafted: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the tensors do not fit into its memory, storing the model again would not help."""

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("src.runtimes.torch.safe_open", full)
    with pytest.raises(ModelError, match="GPU has too little free memory") as refused:
        _start(drafted, runtime="torch")
    assert refused.value.remedies == (Remedy("device", "cpu"),)


class _Recurrent(nn.Module):
    """Reads the rows of a map one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rows = nn.Conv2d(3, 4, 32, stride=32), nn.LSTM(4, 4, batch_first=True)
        self.last = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.conv(images).flatten(2).transpose(1, 2)
        logits: torch.Tensor = self.last(self.rows(tokens)[0].mean(dim=1))
        return logits


def test_recurrent_layers_are_served_without_torch() -> None:
    """A network that reads its map row by row, which OpenVINO's converter unrolls, is served like any other."""
    torch.manual_seed(0)
    network = _Recurrent().eval().requires_grad_(requires_grad=False)
    with draft(Checkpoint("test/recurrent", ("bus", "car", "tram"), SPEC, network)) as verified:
        assert verified.manifest.runtime == "openvino"
        evaluation = _start(verified).evaluate(_pixels(SPEC))
        assert evaluation.gradient(0).any()

"""Networks with one output, with labels that do not exclude each other and with one channel, from file to answer."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from src.api.schemas.model import ModelResponse
from src.checkpoints.checkpoint import Checkpoint, read_checkpoint
from src.checkpoints.given import Given
from src.checkpoints.network import build
from src.conversion.draft import Draft, draft
from src.errors import ModelError, Remedy
from src.pipeline import Pipeline
from src.runtimes.select import start
from src.saving.report import report
from src.stages.decode import DecodeLimits
from src.stages.decoded_image import DecodedImage
from src.stages.transform import transform
from src.store.bundle import Bundle
from tests.api.test_endpoints import answered, endpoints, request
from tests.files import saved
from tests.oracles import whole_backward
from tests.test_service import b64

TINY = "timm/test_resnet"
PREPARED = {"resize": (40, 48), "crop": (32, 32)}
KINDS: dict[str, tuple[int, int, Given]] = {
    "binary": (1, 3, Given(labels="cat,dog", input=PREPARED)),
    "multilabel": (4, 3, Given(labels="a,b,c,d", output="multilabel", input=PREPARED)),
    "gray": (3, 1, Given(labels="a,b,c", input={**PREPARED, "mean": (0.3,), "std": (0.2, 0.2, 0.2)})),
}


@dataclass(frozen=True)
class Stored:
    """A network as it was trained, and as it is stored and serves."""

    kind: str
    trained: nn.Module
    checkpoint: Checkpoint
    drafted: Draft

    def pipeline(self, runtime: Any = "auto") -> Pipeline:
        """Return what answers."""
        manifest = self.drafted.manifest
        running = start(self.drafted.folder, manifest, threads=1, device="cpu", runtime=runtime)
        return Pipeline(manifest, running, DecodeLimits())


def _network(outputs: int, channels: int) -> nn.Module:
    torch.manual_seed(outputs)
    network = build(TINY, outputs, channels)
    for parameter in network.parameters():  # random weights alone give nearly the same for all images
        parameter.mul_(1.5)
    return network


@pytest.fixture(scope="module", params=KINDS)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """A tiny network of each kind, from its file."""
    outputs, channels, given = KINDS[request.param]
    trained = _network(outputs, channels)
    file = tmp_path_factory.mktemp("checkpoints") / "x.pt"
    torch.save(trained.state_dict(), file)
    with ExitStack() as stack:
        checkpoint = read_checkpoint(file, replace(given, architecture=TINY))
        yield Stored(request.param, trained, checkpoint, stack.enter_context(draft(checkpoint)))


def _photo(rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (8, 9, 3), np.uint8)).resize((90, 70), Image.Resampling.BICUBIC)


def _prepared(stored: Stored, photo: Image.Image) -> torch.Tensor:
    """Prepare ``photo`` as a training with torchvision does."""
    if "gray" in stored.kind:
        photo = photo.convert("L")
    spec = stored.drafted.manifest.input
    resized = photo.resize((48, 40), spec.resampling).crop((8, 4, 40, 36))
    values = torch.from_numpy(np.array(resized)).float().reshape(32, 32, -1).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(each)[:, None, None] for each in (spec.mean, spec.std))
    return ((values - mean) / std)[None]


def _expected(stored: Stored, photo: Image.Image) -> list[float]:
    """Return the probabilities that the trained network itself gives."""
    with torch.inference_mode():
        logits = stored.trained(_prepared(stored, photo))[0].double()
    if logits.numel() == 1:
        return [1 - float(logits.sigmoid()), float(logits.sigmoid())]
    likely: list[float] = (logits.sigmoid() if stored.kind == "multilabel" else logits.softmax(0)).tolist()
    return likely


def _answer(stored: Stored, photo: Image.Image, runtime: str) -> dict[str, Any]:
    routes = endpoints(stored.pipeline(runtime))
    body = json.dumps({"img": b64(saved(photo)), "top_k": len(stored.drafted.manifest.labels)}).encode()
    answer: dict[str, Any] = json.loads(bytes(answered(routes.json, request(body)).body))
    return answer


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_answers_are_those_of_the_trained_network(stored: Stored, runtime: str, rng: np.random.Generator) -> None:
    """Every probability of an answer is the network's own within 1e-4, in both runtimes."""
    photo = _photo(rng)
    answer = _answer(stored, photo, runtime)
    assert answer["success"], answer
    given = {entry["index"]: entry["prob"] / 100 for entry in answer["detail"]}
    expected = _expected(stored, photo)
    np.testing.assert_allclose([given[index] for index in range(len(expected))], expected, atol=1e-4)
    assert answer["result"] == stored.drafted.manifest.labels[int(np.argmax(expected))]
    if stored.kind == "multilabel":
        assert answer["other"] is None
        order = np.argsort(-np.array(expected))
        assert answer["results"] == [stored.drafted.manifest.labels[i] for i in order if expected[i] > 0.5]
    else:
        assert answer["other"] == 0
        assert "results" not in answer


def test_heatmaps_are_those_of_the_trained_network(stored: Stored, rng: np.random.Generator) -> None:
    """The weights of every class give the heatmap that differentiating the whole network gives."""
    pixels = transform(DecodedImage(_photo(rng), 90, 70), stored.drafted.manifest.input).pixels
    pipeline = stored.pipeline()
    evaluation = pipeline.runtime.evaluate(pixels)
    image = torch.from_numpy(stored.drafted.manifest.input.normalize(pixels))[None]
    with torch.no_grad():
        features = _features(stored, image)
    oracles = whole_backward(stored.checkpoint.network, image, features, stored.drafted.manifest.features)
    for index, (oracle, _) in enumerate(oracles):
        channels, height, width = evaluation.features.shape
        heat = np.maximum(evaluation.weights(index) @ evaluation.features.reshape(channels, -1), 0)
        heat = (heat / heat.max() if heat.max() > 0 else heat).reshape(height, width)
        np.testing.assert_allclose(heat, oracle.heat, atol=1e-3)


def _features(stored: Stored, image: torch.Tensor) -> torch.Tensor:
    """Return what the Grad-CAM layer of the network gives as it runs."""
    found: list[torch.Tensor] = []
    layer = stored.checkpoint.network.get_submodule(stored.drafted.manifest.layer)
    handle = layer.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    stored.checkpoint.network(image)
    handle.remove()
    return found[-1]


def test_descriptions_name_the_kind_of_output(stored: Stored) -> None:
    """The manifest, GET /model and the report say what the outputs mean and how many channels an image has."""
    manifest = stored.drafted.manifest
    kind = "multilabel" if stored.kind == "multilabel" else "binary" if "binary" in stored.kind else "softmax"
    assert manifest.output.kind == kind
    assert manifest.input.channels == KINDS[stored.kind][1]
    runtime = stored.pipeline().runtime
    described = ModelResponse.of(Bundle("x:1", manifest, stored.drafted.folder), runtime)
    assert described.model_dump()["output"] == {"kind": kind, "temperature": 1, "thresholds": None}
    said = report(stored.checkpoint.notes, stored.drafted)
    assert {"softmax": "the classes exclude each other", "binary": "one of two", "multilabel": "on its own"}[
        kind
    ] in said
    assert "stretched to 48 x 40, center-cropped to 32 x 32" in said
    assert "if your training differed" in said
    assert ("converted to gray" in said) == ("gray" in stored.kind)


def _saved(folder: Path, network: nn.Module, **hyper_parameters: Any) -> Path:
    torch.save({"state_dict": network.state_dict(), "hyper_parameters": hyper_parameters}, folder / "x.ckpt")
    return folder / "x.ckpt"


def test_one_output_asks_what_it_is(tmp_path: Path) -> None:
    """A probability and a regression value look the same: nothing is stored until somebody names the classes."""
    with pytest.raises(ModelError, match="regression value") as refused:
        read_checkpoint(_saved(tmp_path, _network(1, 3)), Given())
    assert refused.value.remedies == (Remedy("labels", "NEGATIVE,POSITIVE"), Remedy("output", "binary"))


def test_two_names_in_the_file_make_one_output_binary(tmp_path: Path) -> None:
    """Hyper-parameters that name two classes say that the one output is a probability."""
    read = read_checkpoint(_saved(tmp_path, _network(1, 3), classes=["cat", "dog"]), Given())
    assert (read.output.kind, read.labels) == ("binary", ("cat", "dog"))


@pytest.mark.parametrize(
    ("outputs", "given", "message"),
    [
        (3, Given(output="binary"), "has 3 outputs, but binary means one"),
        (1, Given(output="multilabel"), "one output, which cannot be multilabel"),
        (1, Given(labels="a,b,c"), "2 classes but there are 3 labels"),
        (2, Given(channels=1), "takes 3 channels, not 1"),
    ],
)
def test_what_contradicts_the_network_is_refused(outputs: int, given: Given, message: str, tmp_path: Path) -> None:
    """A kind of output or a number of channels that the network has not is an error that says what it has."""
    with pytest.raises(ModelError, match=message):
        read_checkpoint(_saved(tmp_path, _network(outputs, 3)), given)


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused_by_name(channels: int, tmp_path: Path) -> None:
    """A network of two or four channels is named, with the way on."""
    with pytest.raises(ModelError, match=rf"conv1.*takes {channels} channels") as refused:
        read_checkpoint(_saved(tmp_path, build(TINY, 2, channels)), Given())
    assert refused.value.remedies == (Remedy("module"),)


@pytest.mark.parametrize("architecture", ["torchvision/squeezenet1_1", TINY])
def test_a_gray_network_is_recognized(architecture: str, tmp_path: Path) -> None:
    """The first convolution tells the channel; what nobody knows of gray images is said."""
    read = read_checkpoint(_saved(tmp_path, build(architecture, 2, 1)), Given())
    assert (read.architecture, read.input.channels, read.input.mean, read.input.std) == (
        architecture,
        1,
        (0.5,),
        (0.5,),
    )
    note = next(note for note in read.notes if note.sentence.startswith("input"))
    assert "mean and std for gray images are not known" in note.sentence
    assert {Remedy("mean"), Remedy("std")} <= set(note.remedies)


def test_unequal_means_of_a_gray_network_are_refused(tmp_path: Path) -> None:
    """Three different means cannot be those of one channel."""
    with pytest.raises(ModelError, match=r"\(one channel\), but mean has several values, 0\.1,0\.2,0\.3"):
        read_checkpoint(_saved(tmp_path, build(TINY, 2, 1)), Given(input={"mean": (0.1, 0.2, 0.3)}))


MODULE = """
from torch import nn
class Net(nn.Module):
    def __init__(self, channels=1, outputs=2):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs)
        )
        self.outputs = outputs
    def forward(self, x):
        y = self.layers(x)
        return y.squeeze(1) if self.outputs == 1 else y
"""


def test_a_custom_class_may_take_gray_and_return_one_output(tmp_path: Path) -> None:
    """Three channels are tried, then one; one output without a dimension of its own is binary where it is said."""
    source = tmp_path / "net.py"
    source.write_text(MODULE)
    space: dict[str, Any] = {}
    exec(MODULE, space)  # noqa: S102 - the class above
    for channels, outputs, kind in ((1, 2, "softmax"), (3, 1, "binary"), (1, 1, "binary")):
        file = _saved(tmp_path, space["Net"](channels, outputs), channels=channels, outputs=outputs)
        read = read_checkpoint(file, Given(module=f"{source}:Net", labels="a,b"))
        assert (read.input.channels, read.output.kind) == (channels, kind)
    with draft(read) as drafted:  # the last is gray and has one output
        assert drafted.manifest.output.kind == "binary"
        pixels = np.zeros((*read.input.crop, 1), np.uint8)
        assert len(start(drafted.folder, drafted.manifest, threads=1).evaluate(pixels).logits) == 2

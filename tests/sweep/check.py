"""Capture, cut, explain, store and serve one architecture, and compare each step with the original network."""

import json
import os
import re
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import bentoml
import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from torch import fx, nn
from torch.overrides import BaseTorchFunctionMode
from torchvision import transforms

from src.checkpoints.checkpoint import Checkpoint
from src.conversion import draft as drafting
from src.conversion.capture import capture
from src.conversion.cut import Cut, cut
from src.errors import ModelError
from src.options import Options
from src.pipeline import Pipeline
from src.runtimes.select import start
from src.stages.decode import DecodeLimits
from src.stages.gradcam import gradcam
from src.stages.input_spec import InputSpec
from src.store import bundle
from tests.oracles import whole_backward
from tests.sweep.isolation import run_alone
from tests.sweep.networks import CLASSES, REFUSED, TOO_LARGE, input_size, random_network

__all__ = ["check", "results_file"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BIG_INPUT: Final = 512  # pixels; one image of this size is enough
_LABELS: Final = tuple(f"class {index}" for index in range(CLASSES))
# Their last tokens are transposed in memory, so the mean of those restored from a map is summed in another order.
_SUMMED_IN_ANOTHER_ORDER: Final = {"timm/resmlp_12_224", "timm/test_vit_relpos", "timm/vit_relpos_small_patch16_224"}
_SECONDS: Final = 420
_VERSION: Final = "1"  # BentoML cannot store a version while another of the same name is being deleted


def check(architecture: str, *, alone: bool = True, stored: bool = True) -> dict[str, Any]:
    """Check ``architecture`` and return its row of the table; if ``alone``, run each step in its own process.

    Unless it is ``stored``, it is only captured, cut and explained.
    """
    began = time.monotonic()
    results_file(architecture).unlink(missing_ok=True)
    for step in _steps(architecture, stored=stored and architecture not in TOO_LARGE):
        if alone:
            run_alone(step, architecture, _SECONDS)
        else:
            step(architecture)
    return {**json.loads(results_file(architecture).read_text()), "seconds": round(time.monotonic() - began, 1)}


def _steps(architecture: str, *, stored: bool) -> tuple[Callable[[str], None], ...]:
    if architecture in REFUSED:
        return (_check_refused,)
    return (partial(_check_captured, stored=True), _check_served) if stored else (_check_captured,)


def results_file(architecture: str) -> Path:
    """Return the file next to the model store with the results of ``architecture``."""
    return Path(os.environ["BENTOML_HOME"]) / f"{_name(architecture)}.json"


def _note(architecture: str, **found: object) -> None:
    file = results_file(architecture)
    known = json.loads(file.read_text()) if file.exists() else {"architecture": architecture}
    file.write_text(json.dumps(known | found))


def _check_refused(architecture: str) -> None:
    network = random_network(architecture)
    spec = _spec(architecture, network)
    with pytest.raises(ModelError, match=REFUSED[architecture]) as refused:
        cut(capture(network, spec), spec)
    _note(architecture, refused=str(refused.value))


def _check_captured(architecture: str, *, stored: bool = False) -> None:
    network = random_network(architecture)
    spec = _spec(architecture, network)
    whole = capture(network, spec)
    parts = cut(whole, spec)
    _note(architecture, layer=parts.layer, maps="x".join(map(str, parts.layout.shape)))
    _check_logits(architecture, network, parts, spec)
    _note(architecture, heatmap=_largest_difference(network, parts, spec))
    if stored:
        _store(architecture, network, spec, lambda *_: whole)


def _check_logits(architecture: str, network: nn.Module, parts: Cut, spec: InputSpec) -> None:
    """Check that the captured graph and its head return the logits of the network."""
    torch.manual_seed(1)
    images = torch.randn(1 if max(spec.crop) >= _BIG_INPUT else 3, *spec.shape)
    with torch.no_grad(), BaseTorchFunctionMode():  # without torch's fused attention, which rounds differently
        logits = network(images)
        features, captured = parts.network()(images)
        behind = parts.head(features)
    assert torch.isfinite(logits).all()
    # If one token is read, products after the features have one row and may be rounded differently.
    tolerance = 1e-6 if architecture in _SUMMED_IN_ANOTHER_ORDER else 2e-6 if parts.layout.placeless else 0
    torch.testing.assert_close(captured, logits, rtol=0, atol=tolerance)
    torch.testing.assert_close(behind, logits, rtol=0, atol=tolerance)
    _note(architecture, logits=max(float((one - logits).abs().max()) for one in (captured, behind)))


def _largest_difference(network: nn.Module, parts: Cut, spec: InputSpec) -> float:
    """Return the largest difference between heatmaps of the head and of the network, for and against each class."""
    torch.manual_seed(2)
    image = torch.randn(1, *spec.shape)
    with torch.no_grad():
        features = parts.network()(image)[0]
    leaf = features.clone().requires_grad_()
    logits = parts.head(leaf)[0]
    oracles = whole_backward(network, image, features, parts.layout)
    assert any(oracle.heat.any() for both in oracles for oracle in both)
    maps, differences = parts.layout.fold(features)[0].numpy(), []
    for logit, both in zip(logits, oracles, strict=True):
        (gradient,) = torch.autograd.grad(logit, leaf, retain_graph=True)
        weights = parts.layout.fold(gradient)[0].mean(dim=(1, 2)).numpy()
        for sign, oracle in zip((1, -1), both, strict=True):
            heat = gradcam(maps, sign * weights).values
            np.testing.assert_allclose(heat, oracle.heat, rtol=0, atol=oracle.tolerance)
            differences.append(float(np.abs(heat - oracle.heat).max()))
    return max(differences)


def _store(architecture: str, network: nn.Module, spec: InputSpec, captured: Callable[..., fx.GraphModule]) -> None:
    """Store the network, and its percentages for an image in torch."""
    prepare = transforms.Compose(
        [
            transforms.Resize(max(spec.crop)),
            transforms.CenterCrop(spec.crop),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    with torch.no_grad():
        logits = network(prepare(Image.open(BytesIO(_photo())))[None])[0]
    np.save(_expected(architecture), 100 * logits.softmax(0).numpy())
    checkpoint = Checkpoint(architecture, _LABELS, spec, network)
    with (
        patch.object(drafting, "capture", captured),  # it is captured already
        patch.object(drafting, "best_batch", lambda *_: 1),  # a measurement of speed, while another network is checked
        drafting.draft(checkpoint) as verified,
    ):
        bundle.store(verified.folder, verified.manifest, _name(architecture), _VERSION)
    _note(
        architecture, stored=max(verified.agreement.probability, verified.agreement.heat), head=verified.manifest.head
    )


def _check_served(architecture: str) -> None:
    """Serve the stored network, compare its answer, and delete it from the store."""
    tag = f"{_name(architecture)}:{_VERSION}"
    try:
        stored = bundle.load(tag)
        running = start(stored.folder, stored.manifest, threads=1, device="cpu")
        pipeline = Pipeline(stored.manifest, running, DecodeLimits())
        recognition = pipeline.recognize(_photo(), Options(heatmaps=True, top_k=CLASSES))
    finally:
        bentoml.models.delete(tag)
    found = {score.index: score.percent for score in recognition.prediction.top}
    expected = np.load(_expected(architecture))
    np.testing.assert_allclose([found[index] for index in range(CLASSES)], expected, atol=0.011)  # a hundredth point
    assert running.graphs.name == stored.manifest.runtime == "openvino", stored.manifest.note
    assert all(np.isfinite(heatmap).all() and min(heatmap.shape) > 1 for heatmap in recognition.heatmaps)
    assert recognition.explanation is not None
    _note(architecture, served=running.graphs.name, note=stored.manifest.note)


def _spec(architecture: str, network: nn.Module) -> InputSpec:
    crop = input_size(architecture, network)
    return InputSpec(resize=max(crop), crop=crop, interpolation="bilinear", mean=MEAN, std=STD)


def _photo() -> bytes:
    return (Path(skimage.__file__).parent / "data" / "chelsea.png").read_bytes()


def _expected(architecture: str) -> Path:
    """Return the file next to the model store with the percentages of the original network."""
    return results_file(architecture).with_suffix(".npy")


def _name(architecture: str) -> str:
    return re.sub(r"\W+", "-", architecture)

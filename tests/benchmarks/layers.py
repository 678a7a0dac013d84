"""Train small transformers, and find the layer at which Grad-CAM localizes objects best.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.layers

PyPI has no weights of a trained ViT or Swin. These ten networks, for 32 x 32 pixels, learn to recognize eight textures,
each a disc on noise. Then two discs of two classes lie side by side, and the heat of
each class should lie on its own half.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from src.conversion.capture import capture
from src.conversion.cut import Cut, _last, _named, _Operations
from src.errors import ModelError
from src.evaluation.pointing import on_half
from src.stages.gradcam import gradcam
from src.stages.input_spec import InputSpec

SIDE: Final = 32
CLASSES: Final = 8
STEPS: Final = 800
ENOUGH: Final = 0.95  # accuracy at which training ends
COMPOSED: Final = 200
SPEC: Final = InputSpec(resize=SIDE, crop=(SIDE, SIDE), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


@dataclass(frozen=True, slots=True)
class Layer:
    """How often a layer's heat has its maximum on the half of its class, and the share of heat that lies there."""

    name: str
    default: bool
    hits: float
    energy: float


def networks() -> Iterator[tuple[str, nn.Module]]:
    """Yield ten untrained networks: six ViTs, with class token or mean pooling, and four Swins."""
    pools: tuple[Literal["token", "avg"], ...] = ("token", "avg")
    for seed, (pool, depth) in enumerate(product(pools, (3, 4, 6))):
        torch.manual_seed(seed)
        shape: dict[str, Any] = {"img_size": SIDE, "patch_size": 4, "embed_dim": 48, "depth": depth, "num_heads": 4}
        yield f"ViT, {pool}, depth {depth}", VisionTransformer(**shape, num_classes=CLASSES, global_pool=pool)
    for seed, depths in enumerate(((2, 2), (2, 4), (2, 2, 2), (2, 4, 2)), start=10):
        torch.manual_seed(seed)
        yield (
            f"Swin, depths {depths}",
            SwinTransformer(
                img_size=SIDE,
                patch_size=2,
                embed_dim=24,
                depths=depths,
                num_heads=tuple(2**stage for stage in range(1, len(depths) + 1)),
                window_size=4,
                num_classes=CLASSES,
                drop_path_rate=0.0,
            ),
        )


def textures(rng: np.random.Generator, classes: NDArray[np.int64]) -> Tensor:
    """Return (N, 3, SIDE, SIDE) in [-1, 1]: textures of ``classes`` (N,), with a random phase and two random colors."""
    count = len(classes)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    waves = np.stack(
        [
            *(np.sin(1.6 * along + phase) for along in (x, y)),
            *(np.sin(1.1 * along + phase) for along in (x + y, x - y)),
            np.sin(1.6 * x + phase) * np.sin(1.6 * y + phase),
            *(np.sin(0.7 * along + phase) for along in (x, y)),
            np.sin(0.9 * (x + y) + phase) * np.sin(0.9 * (x - y) + phase),
        ]
    )
    chosen = np.sign(waves[classes, np.arange(count)])[:, None]
    low, high = rng.uniform(-1, 0, (count, 3, 1, 1)), rng.uniform(0, 1, (count, 3, 1, 1))
    return torch.from_numpy(np.where(chosen > 0, high, low).astype(np.float32))


def discs(rng: np.random.Generator, images: Tensor, columns: tuple[int, int], ground: Tensor) -> Tensor:
    """Return ``ground`` with a disc cut from each of ``images`` (N, 3, H, W), inside ``columns``."""
    count = len(images)
    radius = rng.uniform(5, 7, (count, 1, 1))
    centre_x = rng.uniform(columns[0] + 7, columns[1] - 7, (count, 1, 1))
    centre_y = rng.uniform(7, SIDE - 7, (count, 1, 1))
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    inside = torch.from_numpy((x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2)[:, None]
    return torch.where(inside, images, ground)


def grounds(rng: np.random.Generator, count: int) -> Tensor:
    """Return blurred noise, (N, 3, SIDE, SIDE)."""
    coarse = torch.from_numpy(rng.uniform(-1, 1, (count, 3, 6, 6)).astype(np.float32))
    return functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")


def batch(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, SIDE, SIDE) with one textured disc each, and their classes."""
    classes = rng.integers(0, CLASSES, count)
    return discs(rng, textures(rng, classes), (0, SIDE), grounds(rng, count)), torch.from_numpy(classes)


def pairs(rng: np.random.Generator) -> tuple[Tensor, NDArray[np.int64]]:
    """Return images with a disc of one class on the left and of another on the right, and both classes, (N, 2)."""
    left = rng.integers(0, CLASSES, COMPOSED)
    right = (left + rng.integers(1, CLASSES, COMPOSED)) % CLASSES
    images = discs(rng, textures(rng, left), (0, SIDE // 2), grounds(rng, COMPOSED))
    return discs(rng, textures(rng, right), (SIDE // 2, SIDE), images), np.stack((left, right), axis=1)


def train(network: nn.Module, seed: int) -> float:
    """Train until enough of 512 new images are recognized, or for 800 steps; return the accuracy."""
    rng = np.random.default_rng(seed)
    tests, wanted = batch(np.random.default_rng(1000), 512)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    accuracy = 0.0
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50)
        network.train()
        images, classes = batch(rng, 32)
        loss = functional.cross_entropy(network(images), classes)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 49:
            network.eval()
            with torch.no_grad():
                accuracy = float((network(tests).argmax(1) == wanted).float().mean())
            if accuracy >= ENOUGH:
                break
    network.eval()
    return accuracy


def layers(network: nn.Module) -> list[Layer]:
    """Return how well each layer at which ``network`` can be cut localizes, in order."""
    whole = capture(network, SPEC)
    graph = _Operations(whole, SPEC)  # shared by all layers, because it takes most of the time
    default = _last(graph)
    images, classes = pairs(np.random.default_rng(2000))
    cuts: dict[str, Cut] = {default.features.name: default}
    for name, _ in network.named_modules():
        try:
            parts = _named(graph, name)
        except ModelError:
            continue
        cuts.setdefault(parts.features.name, parts)
    order = {node.name: place for place, node in enumerate(whole.graph.nodes)}
    found = sorted(cuts.values(), key=lambda parts: order[parts.features.name])
    return [
        Layer(parts.layer, parts.features.name == default.features.name, *localise(parts, images, classes))
        for parts in found
    ]


def localise(parts: Cut, images: Tensor, classes: NDArray[np.int64]) -> tuple[float, float]:
    """Return the share of heatmaps with their maximum on the half of their class, and the mean share of heat there."""
    with torch.no_grad():
        features = parts.network()(images)[0]
    scores = []
    for side in (0, 1):
        leaf = features.clone().requires_grad_()
        logits = parts.head(leaf)[torch.arange(len(images)), torch.from_numpy(classes[:, side])]
        (gradient,) = torch.autograd.grad(logits.sum(), leaf)
        maps, weights = parts.layout.fold(features).numpy(), parts.layout.fold(gradient).mean(dim=(2, 3)).numpy()
        scores += [
            on_half(gradcam(one, weight).values, left=side == 0) for one, weight in zip(maps, weights, strict=True)
        ]
    hits, energy = np.mean(scores, axis=0)
    return float(hits), float(energy)


def main() -> None:
    """Train the networks and print a table."""
    torch.set_num_threads(1)
    for seed, (name, network) in enumerate(networks()):
        accuracy = train(network, seed)
        found = layers(network)
        best = max(found, key=lambda layer: (layer.hits, layer.energy))
        print(f"\n{name}: {accuracy:.1%} right", flush=True)
        for layer in found:
            mark = " default" * layer.default + " best" * (layer is best)
            print(f"  {layer.name:<24} {layer.hits:7.1%} {layer.energy:7.1%}{mark}", flush=True)


if __name__ == "__main__":
    main()

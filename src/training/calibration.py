"""Calibrate a trained network on the images held out from its training."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from src.calibration.calibrate import FEWEST, Calibrated, Known, calibrate
from src.calibration.familiarity import FEWEST_OF_CLASS, fit_familiarity, has_enough_of_each
from src.calibration.samples import Samples
from src.calibration.words import lines
from src.checkpoints.carried import KEY, Carried
from src.conversion.capture import capture
from src.conversion.cut import cut
from src.conversion.probabilities import find_scores
from src.errors import ModelError
from src.stages.input_spec import InputSpec
from src.training.batches import SeenBatches, Source
from src.training.dataset import LabeledImage, Split

__all__ = ["calibrate_checkpoint"]

_MOST: Final = 1000  # training images that familiarity is fitted to: more take longer and add little
_BATCH: Final = 8


def calibrate_checkpoint(
    file: Path, network: nn.Module, split: Split, carried: Carried, pool: Executor
) -> tuple[str, ...]:
    """Calibrate ``network`` on the held-out images, store the result in ``file``, and return report lines.

    ``file`` is the checkpoint with the weights of ``network``, which is in eval mode on the CPU; ``carried`` is what
    the checkpoint carries already.
    """
    held_back = _different(split.validation)
    if len(held_back) < FEWEST:
        return (f"calibration   needs {FEWEST} different validation images, not {len(held_back)}",)
    try:
        calibrated, samples = _learn(network, held_back, split.training, carried, pool)
    except ModelError as exc:
        return (f"calibration   none: {exc}",)
    said = replace(carried, output=calibrated.output, learned=calibrated.learned, familiarity=calibrated.familiarity)
    content = torch.load(file, map_location="cpu", weights_only=True)
    whole = file.with_suffix(".part")
    torch.save(content | {KEY: said.plain()}, whole)
    whole.replace(file)
    return tuple(lines(calibrated, samples))


def _learn(
    network: nn.Module,
    held_back: Sequence[LabeledImage],
    training: Sequence[LabeledImage],
    carried: Carried,
    pool: Executor,
) -> tuple[Calibrated, Samples]:
    """Calibrate ``network`` on ``held_back``, with its familiarity fitted to images of ``training``.

    Raises:
        ModelError: The network cannot be captured, so the features that it will be stored with are unknown.
    """
    spec, output = carried.input, carried.output
    sight, channels, layer = _sight(network, spec)

    def seen(images: Sequence[LabeledImage]) -> Samples:
        batches = SeenBatches(Source(images, spec, _BATCH, sight, pool))
        both = torch.cat([features for features, _ in batches]).numpy()
        targets = [image.label if isinstance(image.label, int) else 0 for image in images]
        return Samples(both[:, channels:], both[:, :channels], np.array(targets))

    samples, shown = seen(held_back), seen(_some(_different(training)))
    classes = samples.logits.shape[1] if output.exclusive else 1
    known: Known | None = None
    if has_enough_of_each(shown.targets, classes):
        known = Known(fit_familiarity(shown.features, shown.targets, classes), len(shown), layer)
    return calibrate(samples, output, "training", known or layer), samples


def _sight(network: nn.Module, spec: InputSpec) -> tuple[Callable[[torch.Tensor], torch.Tensor], int, str]:
    """Return the network as it will be stored, images (N, ...) -> pooled features and logits, (N, K + C); K; the layer.

    The returned function is called by several threads at once.
    """
    parts = cut(find_scores(capture(network, spec), spec).graph, spec)
    both = parts.network()

    def sight(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features, logits = both(images)
        return torch.cat([parts.layout.fold(features).mean(dim=(2, 3)), logits], dim=1)

    return sight, parts.layout.channels, parts.layer


def _different(images: Sequence[LabeledImage]) -> list[LabeledImage]:
    return list({image.digest: image for image in images}.values())


def _some(images: Sequence[LabeledImage]) -> list[LabeledImage]:
    """Return at most 1,000 of ``images``, or ten per class if that is more, up to the same number of each class."""
    of_class: dict[object, list[LabeledImage]] = {}
    for image in images:
        of_class.setdefault(image.label if isinstance(image.label, int) else 0, []).append(image)
    most = max(FEWEST_OF_CLASS, _MOST // len(of_class))
    return [image for members in of_class.values() for image in members[:most]]

"""Decide what is trained, and from which weights, by the options and the resumed run, if any."""

import math
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from src.checkpoints.architecture import full_name
from src.checkpoints.default import ARCHITECTURE, default_checkpoint
from src.checkpoints.inputs.published import NORMALIZING, published_input
from src.checkpoints.network import RGB
from src.errors import ModelError
from src.stages.input_spec import InputSpec
from src.stages.output_spec import OutputSpec
from src.training.classifier import Classifier, head_names
from src.training.dataset import Dataset
from src.training.published import first_layers, published_network

__all__ = ["Earlier", "Pace", "Recipe", "earlier_run", "new_classifier", "pace", "recipe", "resume"]

# The default network already has general features; only its last convolution and the head learn. The backward pass
# through the depthwise convolutions before them would double the time, and costs more in bfloat16 than in float32.
_FROZEN: Final = ("conv_stem", "bn1", "blocks")
_LEARNING_RATE: Final = 1e-3
# Share of it for pretrained layers: small, so as not to destroy what they learned from a million images.
_PRETRAINED_SHARE: Final = 0.03
_BATCH: Final = 32
_EPOCHS: Final = 2  # four are no better, measured on three splits
_MAX_EPOCHS: Final = 40
_VIEWS: Final = 2000  # images to learn from, counting repetitions, if --epochs is not given


@dataclass(frozen=True, slots=True)
class Earlier:
    """The run to resume: its checkpoint, with hyper-parameters and weights, and how many epochs it has completed."""

    file: Path
    hyper_parameters: dict[str, Any]
    epochs: int
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to train: the options of the command, completed from the resumed run.

    ``pretrained``: it starts, or the resumed run started, from published weights; ``frozen``: the layers that the
    resumed run froze, None for a new run.
    """

    architecture: str
    seed: int
    validation: float
    input: InputSpec
    pretrained: bool
    frozen: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """The batch size, and the number of epochs."""

    batch_size: int
    epochs: int


def earlier_run(file: Path) -> Earlier:
    """Read the earlier run from its last.ckpt, ``file``.

    Raises:
        ModelError: The file cannot be read, or is not a checkpoint of this command.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        return Earlier(file, dict(content["hyper_parameters"]), int(content["epoch"]) + 1, content["state_dict"])
    except OSError as exc:
        raise ModelError(f"Cannot read {file} ({exc.strerror}): give the last.ckpt of an earlier run.") from exc
    except Exception as exc:  # torch's unpickler raises any exception
        raise ModelError(f"{file} is not a checkpoint of this command: give the last.ckpt of an earlier run.") from exc


def recipe(options: Namespace, earlier: Earlier | None) -> Recipe:
    """Complete the options for architecture, seed, validation share and channels from the earlier run or the defaults.

    Raises:
        ModelError: The architecture does not exist, or a run from published weights should be resumed from scratch.
    """
    stored = earlier.hyper_parameters if earlier else {}
    if earlier and options.from_scratch and stored.get("keep_statistics"):
        raise ModelError(
            f"The run of {earlier.file} started from published weights: omit --from-scratch, or start anew without"
            " --resume."
        )
    origin = stored.get("origin") or {}
    architecture = full_name(options.arch or stored.get("architecture", ARCHITECTURE))
    return Recipe(
        architecture=architecture,
        seed=options.seed if options.seed is not None else int(origin.get("seed", 0)),
        validation=options.validation or float(origin.get("validation", 0.15)),
        input=_input(options, stored, architecture),
        pretrained=bool(stored.get("keep_statistics")) if earlier else not options.from_scratch,
        frozen=tuple(stored.get("frozen", ())) if earlier else None,
    )


def _input(options: Namespace, stored: Mapping[str, Any], architecture: str) -> InputSpec:
    """Return the preprocessing of the earlier run, or the published one; for gray images with the means of its values.

    With these, an image gives nearly the same values as in each color channel, which is what the weights expect.
    """
    if "input" in stored and not options.channels:
        return InputSpec.model_validate(stored["input"])
    published = default_checkpoint().input if architecture == ARCHITECTURE else published_input(architecture)
    if architecture in NORMALIZING:
        published = published.model_copy(update={"mean": (0.5,) * RGB, "std": (0.5,) * RGB})
    if (options.channels or RGB) == published.channels:
        return published
    mean, std = ((sum(values) / len(values),) for values in (published.mean, published.std))
    return published.model_copy(update={"channels": options.channels, "mean": mean, "std": std})


def pace(options: Namespace, images: int) -> Pace:
    """Complete batch size and epochs: few images need small batches and many passes."""
    epochs = min(_MAX_EPOCHS, max(_EPOCHS, math.ceil(_VIEWS / max(1, images))))
    return Pace(options.batch_size or max(4, min(_BATCH, images // 4)), options.epochs or epochs)


def new_classifier(recipe: Recipe, dataset: Dataset) -> Classifier:
    """Return a classifier for the classes of ``dataset``; with published weights, only its head is new.

    That of a resumed run has random weights until :func:`resume` loads those of the earlier run.

    Raises:
        ModelError: The published weights are not available, or cannot take gray images.
    """
    new = recipe.pretrained and recipe.frozen is None
    known, frozen = _published(recipe, len(dataset.labels)) if new else (None, recipe.frozen or ())
    classifier = Classifier(
        architecture=recipe.architecture,
        labels=dataset.labels,
        input=recipe.input.model_dump(mode="json"),
        output=OutputSpec(kind=dataset.output).model_dump(mode="json"),
        learning_rate=_LEARNING_RATE,
        backbone_rate=_PRETRAINED_SHARE if recipe.pretrained else 1.0,
        frozen=frozen,
        keep_statistics=recipe.pretrained,
        origin={"dataset": dataset.digest, "seed": recipe.seed, "validation": recipe.validation},
    )
    if known:
        own, head = classifier.network.state_dict(), head_names(classifier.network)
        kept = {name: _fitted(tensor, own[name]) for name, tensor in known.state_dict().items() if name not in head}
        classifier.network.load_state_dict(own | kept)
        _clear_head(classifier.network, head)
    return classifier


def _clear_head(network: nn.Module, head: set[str]) -> None:
    """Fill the head with zeros: it starts with equal percentages; a random one would first have to be unlearned.

    The biases of a convolution become 1, because of SqueezeNet, where a ReLU follows: its gradient is zero at zero.
    """
    for name in head:
        layer, _, kind = name.rpartition(".")
        is_linear = isinstance(network.get_submodule(layer), nn.Linear)
        nn.init.constant_(network.get_parameter(name), float(kind == "bias" and not is_linear))


def _fitted(tensor: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Sum a stem's weights over the color channels if ``own`` has one: a gray image has about the same output."""
    if tensor.shape == own.shape:
        return tensor
    if own.shape[1:2] != (1,):  # a stem that folds pixels into channels
        raise ModelError(
            "The published weights of this network are for color images only: omit --channels, or start from random"
            " weights with --from-scratch."
        )
    return tensor.sum(dim=1, keepdim=True)


def _published(recipe: Recipe, classes: int) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the network with its published weights, and the names of its layers that will not learn."""
    if recipe.architecture == ARCHITECTURE:
        return default_checkpoint().network, _FROZEN
    network = published_network(recipe.architecture, classes)
    image = torch.rand(1, RGB, *recipe.input.crop, generator=torch.Generator().manual_seed(0))
    return network, first_layers(network, image)


def resume(earlier: Earlier, classifier: Classifier) -> None:
    """Load the weights of the earlier run, also for the copies of its frozen layers that prepare the batches.

    A run is refused if training would use its validation images, or if its weights do not fit.

    Raises:
        ModelError: The labels, architecture, channels, dataset, seed or validation share differ.
    """
    stored = earlier.hyper_parameters
    now = {**classifier.hparams, **classifier.hparams["origin"], "channels": classifier.hparams["input"]["channels"]}
    then = {**stored, **stored.get("origin", {}), "channels": (stored.get("input") or {}).get("channels", RGB)}
    for name in ("labels", "architecture", "channels", "dataset", "seed", "validation"):
        if then.get(name) != now[name]:
            detail = "" if name == "dataset" else f" ({then.get(name)}, now {now[name]})"
            raise ModelError(f"The run of {earlier.file} differs in its {name}{detail}: start anew without --resume.")
    classifier.load_state_dict(earlier.weights)

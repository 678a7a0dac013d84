"""A trained module in memory -> a network to store; the module itself is not changed."""

import copy
from collections.abc import Mapping, Sequence
from typing import Final

from torch import nn

from src.checkpoints.checkpoint import Checkpoint
from src.checkpoints.given import Given
from src.checkpoints.labels import labels_of, read_labels
from src.checkpoints.outputs import one_score_per_class, read_output
from src.checkpoints.own.module import ARCHITECTURE_PREFIX
from src.checkpoints.own.scores import count_classes
from src.checkpoints.own.transforms import input_of
from src.checkpoints.reading.weights_file import WeightsFile
from src.errors import ModelError, Remedy
from src.stages.output_spec import OutputKind

__all__ = ["from_memory"]

_WRAPPERS: Final = ("_orig_mod", "module")  # of torch.compile, and of DataParallel and DDP


def from_memory(
    module: nn.Module,
    labels: Sequence[str] | Mapping[str, int] | str,
    transform: object,
    layer: str | None = None,
    output: OutputKind | None = None,
) -> Checkpoint:
    """Return a copy of ``module`` on the CPU, in eval mode and full precision, with its labels and input.

    Raises:
        ModelError: It cannot be copied, rejects images prepared by ``transform``, or its number of scores differs from
            the number of labels.
    """
    spec = input_of(transform)
    network = _copy(module)
    names = read_labels(labels) if isinstance(labels, str) else labels_of(labels)
    said, classes = read_output(
        WeightsFile({}, {}), Given(labels=",".join(names), output=output), count_classes(network, spec)
    )
    if len(names) != classes:
        raise ModelError(f"The module has {classes} classes, but there are {len(names)} labels.", Remedy("labels"))
    architecture = f"{ARCHITECTURE_PREFIX}{type(network).__name__}"
    network, layer = one_score_per_class(network, layer, said)
    return Checkpoint(architecture, names, spec, network, layer, output=said)


def _copy(module: nn.Module) -> nn.Module:
    for name in _WRAPPERS:
        inner = getattr(module, name, None)
        if (
            isinstance(inner, nn.Module)
            and len(list(module.children())) == 1
            and type(module).__module__[:6] == "torch."
        ):
            return _copy(inner)
    try:
        network = copy.deepcopy(module)
    except Exception as exc:
        raise ModelError(f"The module cannot be copied: {type(exc).__name__}: {exc}.") from exc
    return network.cpu().float().eval().requires_grad_(requires_grad=False)

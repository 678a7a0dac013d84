"""Sort a file's tensors outside a network into those that could affect its answers and those that cannot."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import torch

from src.checkpoints.network import RGB
from src.checkpoints.recognition.bodies import Body

__all__ = ["Others", "is_averaged_copy", "is_of_training", "normalization", "sort_others"]

_STEPS: Final = re.compile(r"[._]|(?<=[a-z])(?=[A-Z])")
_AVERAGES: Final = frozenset({"ema", "swa", "average", "averaged"})
_WRAPPED: Final = ("module", "_orig_mod", "model", "ema_model", "averaged_model", "average_model")
_LOSSES: Final = frozenset({"loss", "losses", "criterion", "criterions", "criteria", "objective", "metric", "metrics"})
_MEASURES: Final = frozenset(
    {"acc", "accuracy", "auc", "auroc", "best", "confmat", "confusion", "f1", "fid", "kappa", "mae", "meter", "mse"}
    | {"precision", "recall", "specificity", "aug", "augment", "augmentation", "augmentations", "cutmix", "mixup"}
)
_ENTROPIES: Final = frozenset({"bce", "ce", "crossentropy", "entropy", "focal", "nll", "xent"})
_WEIGHTS: Final = frozenset({"weight", "weights"})
_OF_CLASSES: Final = frozenset({"class", "classes", "cls", "loss", "pos"})
_AUXILIARY: Final = {"inception_v3": ("AuxLogits",), "googlenet": ("aux1", "aux2")}
_MOST: Final = 255
_MEANS: Final = re.compile(r"(?:.*\.)?(?:(?:pixel|image|img|imagenet|input|data|channel|norm)_|_)?mean")


@dataclass(frozen=True, slots=True)
class Others:
    """Tensors outside a network, by the file's names.

    ``left_out`` cannot affect an answer; ``open`` could. ``normalization`` holds the mean and std from buffers that
    normalize images.
    """

    left_out: tuple[str, ...]
    open: Mapping[str, torch.Tensor]
    normalization: Mapping[str, tuple[float, ...]]
    has_auxiliary_heads: bool


def sort_others(tensors: Mapping[str, torch.Tensor], body: Body) -> Others:
    """Sort the ``tensors`` outside ``body`` by whether they could affect its answers."""
    used = {name: tensors[name] for name in body.names.values()}
    rest = {name: tensor for name, tensor in tensors.items() if name not in used}
    of_colors, of_input = normalization(rest)
    same = {_memory(tensor) for tensor in used.values()}
    matters = {
        name: tensor
        for name, tensor in rest.items()
        if name not in of_input
        and tensor.is_floating_point()
        and tensor.numel()
        and _memory(tensor) not in same
        and not is_averaged_copy(name, tensor, tensors)
        and not _is_auxiliary(name, body)
        and not is_of_training(name, tensor, body)
    }
    left_out = tuple(name for name in rest if name not in matters and name not in of_input)
    return Others(left_out, matters, of_colors, any(_is_auxiliary(name, body) for name in rest))


def _memory(tensor: torch.Tensor) -> tuple[int, torch.Size]:
    return tensor.data_ptr(), tensor.shape


def _words(name: str) -> set[str]:
    return {word.lower().rstrip("0123456789") or word for word in _STEPS.split(name)} | set(_STEPS.split(name.lower()))


def is_averaged_copy(name: str, tensor: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Return whether a tensor, by its name and shape, is the average of another one over training."""
    steps = name.split(".")
    for place, step in enumerate(steps):
        if _AVERAGES & _words(step):
            behind = steps[place + 1 :]
            while behind and behind[0] in _WRAPPED:
                behind = behind[1:]
            return _is_called(behind, steps[: place + 1], tensor, tensors) or (
                tensor.ndim <= 1 and step in _AVERAGES and len(behind) <= 1
            )
    return False


def _is_called(
    behind: list[str], averaged: list[str], tensor: torch.Tensor, tensors: Mapping[str, torch.Tensor]
) -> bool:
    """Return whether another tensor has this shape and name ending; some averages drop the dots."""
    end, start = "".join(behind), ".".join(averaged) + "."
    return bool(end) and any(
        other.shape == tensor.shape and not name.startswith(start) and _ends_with(name, end)
        for name, other in tensors.items()
    )


def _ends_with(name: str, end: str) -> bool:
    steps = name.split(".")
    return name.replace(".", "").endswith(end) and end in {"".join(steps[place:]) for place in range(len(steps))}


def _is_auxiliary(name: str, body: Body) -> bool:
    """Return whether a tensor belongs to a head that only training needs."""
    heads = next((of for short, of in _AUXILIARY.items() if body.architectures[0].endswith(short)), ())
    start = f"{body.prefix}." if body.prefix else ""
    return any(name.startswith(f"{start}{head}.") for head in heads)


def is_of_training(name: str, tensor: torch.Tensor, body: Body) -> bool:
    """Return whether a tensor, by its name, belongs to a loss or a metric."""
    words = _words(name)
    if tensor.ndim <= 1:
        weighs = bool(words & _WEIGHTS) and ("." not in name or bool(words & _OF_CLASSES))
        of_classes = tensor.numel() in {1, body.num_classes} or bool(words & _OF_CLASSES)
        of_loss = words & (_LOSSES | _MEASURES) or (words & _ENTROPIES and words & _WEIGHTS)
        return bool(of_loss) or (weighs and of_classes and "." not in name)
    return bool(words & _LOSSES)


def normalization(rest: Mapping[str, torch.Tensor]) -> tuple[dict[str, tuple[float, ...]], frozenset[str]]:
    """Return the mean and std of buffers that normalize a network's input, and the buffers' names."""
    found = {}
    for name, tensor in rest.items():
        partner = f"{name.removesuffix('mean')}std"
        if _MEANS.fullmatch(name) and partner in rest and not _words(name) & (_LOSSES | _MEASURES):
            mean, std = _of_colors(tensor), _of_colors(rest[partner])
            if std and min(std) > 1:
                mean, std = _of_levels(mean), _of_levels(std)
            if mean and std and _are_plausible(mean, std):
                found[name, partner] = (mean, std)
    values = set(found.values())
    if len(values) != 1:
        return {}, frozenset()
    mean, std = values.pop()
    return {"mean": mean, "std": std}, frozenset(name for pair in found for name in pair)


def _of_colors(tensor: torch.Tensor) -> tuple[float, ...]:
    if tensor.numel() != RGB or not tensor.is_floating_point() or RGB not in tensor.shape:
        return ()
    return tuple(round(value, 6) for value in tensor.double().flatten().tolist())


def _of_levels(numbers: Iterable[float]) -> tuple[float, ...]:
    """Return ``numbers`` for pixels from 0 to 255 as those for pixels from 0 to 1."""
    return tuple(round(number / _MOST, 6) for number in numbers)


def _are_plausible(mean: Iterable[float], std: Iterable[float]) -> bool:
    return all(0 <= value <= 1 for value in mean) and all(0 < value <= 1 for value in std)

"""Signs in a file of what a network's outputs are: scores of classes that are not exclusive, or no scores at all."""

import re
from textwrap import shorten
from typing import Final

from src.checkpoints.reading.nested import walk
from src.checkpoints.reading.stand_ins import Kind, StandIn, fields
from src.checkpoints.reading.weights_file import WeightsFile

__all__ = ["sign_of_several", "sign_of_values"]

_LOSS: Final = re.compile(r"torch\.nn\.modules\.loss\.|torchmetrics\.")
_SIGMOID: Final = "torch.nn.modules.activation.Sigmoid"
# The word, unless it is switched off, as in a configuration stored as text.
_SEVERAL: Final = re.compile(r"multi[-_ ]?label(?!\w*['\"]?\s*[=:]\s*(false|none|no\b|0))")
_LAST_ACTIVATION: Final = re.compile(r"(final|output|out|last|head|classifier)_?(act|activation|nonlinearity)(_fn)?")
_WEIGHTS_OF_SEVERAL: Final = re.compile(r"pos(itive)?_?weights?")
_LONGEST: Final = 60  # characters shown
# Losses of independent classes, as a name or a class; timm's own BCE, for classes that exclude each other, is bce_loss.
_LOSS_OF_SEVERAL: Final = re.compile(
    r"(?:.*\.)?(?:(?:bce|binary_?cross_?entropy)(?:_?with_?logits)?(?:_?loss)?|sigmoid_?focal(?:_?loss)?"
    r"|asymmetric_?loss(?:_?optimized)?)"
)
# Losses of measured values, of embeddings and of ordered classes, as a name or a class.
_LOSS_OF_VALUES: Final = re.compile(
    r"(?:.*\.)?(?:r?mse|l[12]|mae|huber|smooth_?l1|mean_?squared_?error|mean_?absolute_?error"
    r"|triplet(?:_?margin)?|contrastive|nt_?xent|info_?nce|sup_?con|cosine_?embedding|corn|coral)(?:_?loss)?"
)
_TASK: Final = re.compile(r"regression|embedding|metric_?learning|ordinal(_?regression)?")
_NAMES_A_LOSS: Final = re.compile(r"(?<![a-z])(loss|criterion|objective)(?![a-z])")
_NAMES_A_TASK: Final = re.compile(r"(?<![a-z])(task|problem|problem_type|mode|objective)")
_BESIDE: Final = re.compile(r"aux|consist|distill?|feat|kd|recon|regulari[sz]|teacher")  # losses beside the main one


def sign_of_several(file: WeightsFile, outputs: int) -> str | None:
    """Return the sign in ``file`` of classes that are not exclusive: weights of a binary loss, or a hyper-parameter."""
    for name, tensor in file.tensors.items():
        if name.rpartition(".")[2] == "pos_weight" and tensor.numel() == outputs:
            return name
    leaves = {name: one.called for name, one in file.modules.items() if not fields(one)["_modules"]}
    last = next((name for name in reversed(leaves) if not _LOSS.match(leaves[name])), None)
    for name, called in leaves.items():
        if _LOSS_OF_SEVERAL.fullmatch(called.lower()) or (name == last and called == _SIGMOID):
            return f"{name}={called}"
    for name, value in walk(file.hyper_parameters, file.elsewhere):
        if said := _said_of_several(name.lower(), value, outputs):
            return f"{name}={said}"
    return None


def _said_of_several(name: str, value: object, outputs: int) -> str | None:
    """Return the ``value`` of a hyper-parameter, shortened, if it is a sign of classes that are not exclusive."""
    if _WEIGHTS_OF_SEVERAL.fullmatch(name) and _shape(value) == (outputs,):
        return "..."
    said = _said(value)
    if value is True and _SEVERAL.search(name):
        return str(said)
    if not isinstance(said, str):
        return None
    if _LOSS_OF_SEVERAL.fullmatch(said.lower()) or (
        _LAST_ACTIVATION.fullmatch(name) and said.lower().rpartition(".")[2] == "sigmoid"
    ):
        return said
    found = _SEVERAL.search(said.lower())
    return shorten(said[max(0, found.start() - _LONGEST // 2) :], _LONGEST, placeholder=" ...") if found else None


def _shape(value: object) -> tuple[int, ...]:
    return (len(value),) if isinstance(value, list | tuple) else tuple(getattr(value, "shape", ()))


def sign_of_values(file: WeightsFile) -> str | None:
    """Return the loss or the task in the hyper-parameters of ``file`` that is none of classes, or None."""
    for name, value in walk(file.hyper_parameters):
        said = _said(value)
        if isinstance(said, str) and not _BESIDE.search(name.lower()) and _is_of_values(name.lower(), said.lower()):
            return f"{name}={said}"
    return None


def _is_of_values(name: str, said: str) -> bool:
    of_a_loss = _LOSS_OF_VALUES.fullmatch(said) and (_NAMES_A_LOSS.search(name) or said.startswith("torch.nn."))
    return bool(of_a_loss or (_TASK.fullmatch(said) and _NAMES_A_TASK.search(name)))


def _said(value: object) -> object:
    """Return the name of a class or function that a hyper-parameter holds, or its value."""
    return value.called if isinstance(value, StandIn | Kind) else value

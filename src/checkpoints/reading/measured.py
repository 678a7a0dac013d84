"""Signs in a file that a network measures values or embeds images, instead of scoring classes."""

import re
from typing import Final

from src.checkpoints.reading.nested import walk
from src.checkpoints.reading.stand_ins import Kind, StandIn
from src.checkpoints.reading.weights_file import WeightsFile

__all__ = ["sign_of_values"]

# Losses of measured values, of embeddings and of ordered classes, as a name or a class.
_LOSS: Final = re.compile(
    r"(?:.*\.)?(?:r?mse|l[12]|mae|huber|smooth_?l1|mean_?squared_?error|mean_?absolute_?error"
    r"|triplet(?:_?margin)?|contrastive|nt_?xent|info_?nce|sup_?con|cosine_?embedding|corn|coral)(?:_?loss)?"
)
_TASK: Final = re.compile(r"regression|embedding|metric_?learning|ordinal(_?regression)?")
_NAMES_A_LOSS: Final = re.compile(r"(?<![a-z])(loss|criterion|objective)(?![a-z])")
_NAMES_A_TASK: Final = re.compile(r"(?<![a-z])(task|problem|problem_type|mode|objective)")
_BESIDE: Final = re.compile(r"aux|consist|distill?|feat|kd|recon|regulari[sz]|teacher")  # losses beside the main one


def sign_of_values(file: WeightsFile) -> str | None:
    """Return the loss or the task in the hyper-parameters of ``file`` that is none of classes, or None."""
    for name, value in walk(file.hyper_parameters):
        said = value.called if isinstance(value, StandIn | Kind) else value
        if isinstance(said, str) and not _BESIDE.search(name.lower()) and _is_of_values(name.lower(), said.lower()):
            return f"{name}={said}"
    return None


def _is_of_values(name: str, said: str) -> bool:
    of_a_loss = _LOSS.fullmatch(said) and (_NAMES_A_LOSS.search(name) or said.startswith("torch.nn."))
    return bool(of_a_loss or (_TASK.fullmatch(said) and _NAMES_A_TASK.search(name)))

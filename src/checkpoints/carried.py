"""The calibration and the training images' digests that a checkpoint of our own training carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from src.errors import ModelError
from src.stages.confidence import Familiarity
from src.stages.input_spec import InputSpec
from src.stages.learned import Learned
from src.stages.output_spec import OutputSpec

__all__ = ["KEY", "Carried", "read_carried"]

KEY: Final = "image_recognition"  # in the checkpoint, beside state_dict
_DIGEST: Final = 32  # bytes


@dataclass(frozen=True, slots=True)
class Carried:
    """What was learned from held-out images about the network's answers to images prepared by ``input``.

    ``learned_from`` holds the SHA-256 digests of the training files. ``learned`` is None if too few images were held
    out.
    """

    input: InputSpec
    output: OutputSpec
    learned_from: frozenset[bytes]
    learned: Learned | None = None
    familiarity: Familiarity | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as tensors and plain containers that ``torch.load(weights_only=True)`` reads."""
        digests = np.frombuffer(b"".join(sorted(self.learned_from)), np.uint8).reshape(-1, _DIGEST)
        content: dict[str, Any] = {
            "input": self.input.model_dump(mode="json"),
            "output": self.output.model_dump(mode="json"),
            "learned": self.learned and self.learned.model_dump(mode="json"),
            "learned_from": torch.from_numpy(digests.copy()),
        }
        if self.familiarity:
            arrays = self.familiarity.arrays()
            content["familiarity"] = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return content


def read_carried(said: Mapping[str, object]) -> Carried | None:
    """Return what :meth:`Carried.plain` wrote into a checkpoint; ``said`` is all that it holds beside its tensors.

    Raises:
        ModelError: The content is damaged.
    """
    content = said.get(KEY)
    if content is None:
        return None
    try:
        return _read(content)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ModelError("The calibration in the checkpoint is damaged: copy the file again, or train again.") from exc


def _read(content: Any) -> Carried:  # noqa: ANN401 - whatever a file holds
    learned, digests, arrays = content["learned"], content["learned_from"], content.get("familiarity")
    if digests.dtype != torch.uint8 or digests.shape[1:] != (_DIGEST,):
        raise ValueError("not digests")
    return Carried(
        InputSpec.model_validate(content["input"]),
        OutputSpec.model_validate(content["output"]),
        frozenset(bytes(digest) for digest in digests.numpy()),
        learned and Learned.model_validate(learned),
        arrays and Familiarity(**{name: tensor.numpy() for name, tensor in arrays.items()}),
    )

"""The progress of one recognition: whoever follows it is told of every stage, and can end the work between two."""

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Protocol

__all__ = ["Abandoned", "Progress", "Stage", "Unobserved"]


class Stage(StrEnum):
    """The steps of the pipeline, in their order."""

    DECODE = "decode"
    TRANSFORM = "transform"
    NETWORK = "network"
    PREDICT = "predict"
    GRADCAM = "gradcam"
    RENDER = "render"


class Abandoned(Exception):
    """Nobody waits for the answer any more: the work on it ends here."""


class Progress(Protocol):
    """Follows the recognition of one image, in whatever thread that happens."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Surround one stage.

        Raises:
            Abandoned: On entry, where the stage need not start any more.
        """


class Unobserved:
    """The progress that nobody follows."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:  # noqa: ARG002 - the signature is that of Progress
        """Surround a stage with nothing."""
        return nullcontext()

"""The progress of one recognition: an observer is told of every stage, and can end the work between two."""

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
    """Nobody waits for the answer anymore: the work on it ends here."""


class Progress(Protocol):
    """Follows the recognition of one image, in whatever thread that happens."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Surround one stage.

        Raises:
            Abandoned: On entry, if the stage need not start anymore.
        """


class Unobserved:
    """Progress that is not observed."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:  # noqa: ARG002 - the signature is that of Progress
        """Surround a stage with nothing."""
        return nullcontext()

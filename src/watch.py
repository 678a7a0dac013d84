"""Who looks on while a picture is recognized: is told of every stage, and can end the work between two of them."""

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Protocol

__all__ = ["Abandoned", "Stage", "Unwatched", "Watch"]


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


class Watch(Protocol):
    """Looks on while one picture is recognized, in whatever thread that happens."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Surround one stage.

        Raises:
            Abandoned: On entry, where the stage need not start any more.
        """


class Unwatched:
    """Nobody looks on."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:  # noqa: ARG002 - the signature is that of a watch
        """Surround a stage with nothing."""
        return nullcontext()

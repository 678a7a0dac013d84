"""The progress of one recognition: an observer follows every stage, and can end the work between two stages."""

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
    """The client no longer waits for the answer, so the work on it ends."""


class Progress(Protocol):
    """Follows the recognition of one image, from any thread."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Return the context of one stage.

        Raises:
            Abandoned: On entry, if the stage need not start anymore.
        """

    def check(self) -> None:
        """Continue a stage of many steps only if it is still wanted.

        Raises:
            Abandoned: It is not.
        """


class Unobserved:
    """Progress that is not observed."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:  # noqa: ARG002 - the signature is that of Progress
        """Return a context that does nothing."""
        return nullcontext()

    def check(self) -> None:
        """Continue."""

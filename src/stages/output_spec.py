"""The meaning of a network's outputs, which is stored with the model because it belongs to its training."""

from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:  # the process that supervises the workers reads manifests, but no outputs
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["OutputKind", "OutputSpec"]

_HALF: Final = 0.5

OutputKind = Literal["softmax", "binary", "multilabel"]


class OutputSpec(BaseModel):
    """The meaning of the logits.

    A binary network, with one logit z of a sigmoid, is stored with two, -z/2 and z/2, whose softmax is the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: OutputKind = Field(
        default="softmax",
        description="softmax: an image has one of the classes; binary: one of two, by a sigmoid;"
        " multilabel: any number of them, by a sigmoid for each.",
    )
    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Divisor of the logits, learned from labeled images."
    )
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = Field(
        default=None, description="multilabel: a class counts as seen above this probability; null: above 0.5."
    )

    @property
    def exclusive(self) -> bool:
        """Whether an image has exactly one class, so that the probabilities sum to 1."""
        return self.kind != "multilabel"

    def percents(self, logits: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """Return the percentage of each class, (..., C): the softmax of ``logits``, or the sigmoid if multi-label.

        The logits are first divided by the temperature: Guo et al., https://arxiv.org/abs/1706.04599.
        """
        import numpy as np  # noqa: PLC0415 - not needed to read a manifest

        scores = logits.astype(np.float64) / self.temperature
        if not self.exclusive:
            sigmoid: NDArray[np.float64] = 100 * np.exp(-np.logaddexp(0, -scores))
            return sigmoid
        likelihoods = np.exp(scores - scores.max(axis=-1, keepdims=True))
        softmax: NDArray[np.float64] = 100 * likelihoods / likelihoods.sum(axis=-1, keepdims=True)
        return softmax

    def seen(self, percents: "NDArray[np.float64]") -> "NDArray[np.bool_]":
        """Return for each class of a multi-label network, (..., C), whether its percentage is above its threshold."""
        import numpy as np  # noqa: PLC0415 - not needed to read a manifest

        above: NDArray[np.bool_] = percents > 100 * (np.array(_HALF if self.thresholds is None else self.thresholds))
        return above

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.thresholds is not None and self.kind != "multilabel":
            raise ValueError(f"{self.kind} has no thresholds: they belong to multilabel")
        if self.temperature != 1 and self.kind == "multilabel":
            raise ValueError("multilabel has no temperature: it has a threshold for each class")
        return self

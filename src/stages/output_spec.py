"""What the outputs of a network mean: what is stored with a model because it belongs to its training."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["OutputKind", "OutputSpec"]

OutputKind = Literal["softmax", "binary", "multilabel"]


class OutputSpec(BaseModel):
    """What the logits mean.

    A binary network had one logit z of a sigmoid: it is stored with two, -z/2 and z/2, whose softmax is the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: OutputKind = Field(
        default="softmax",
        description="softmax: an image is of one of the classes; binary: of one of two, by a sigmoid;"
        " multilabel: of any number of them, by a sigmoid for each.",
    )
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = Field(
        default=None, description="multilabel: the probability from which on a class counts as seen; null: 0.5 for all."
    )

    def threshold(self, class_index: int) -> float:
        """Return the probability above which a class of a multi-label network counts as seen."""
        return 0.5 if self.thresholds is None else self.thresholds[class_index]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.thresholds is not None and self.kind != "multilabel":
            raise ValueError(f"{self.kind} has no thresholds: they belong to multilabel")
        return self

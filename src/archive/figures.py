"""Summarize answers in figures: classes, errors, the slowest images."""

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nlargest
from itertools import chain, islice
from typing import Final, Self

from pydantic import BaseModel, ConfigDict

from src.archive.reading import Refusal
from src.archive.rows import Answer
from src.pipeline import Recognition

__all__ = ["Figures"]

_SHOWN: Final = 10


class Figures(BaseModel):
    """Number of images, by class and by error, and the paths of a few of them.

    ``seconds`` is the total time of the workers, ``failed`` the path and the error of the first images that failed, and
    ``slowest`` the seconds and the path of the slowest images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = 0
    duplicates: int = 0
    seconds: float = 0.0
    classes: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    failed: tuple[tuple[str, str], ...] = ()
    slowest: tuple[tuple[float, str], ...] = ()

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> Self:
        """Return the figures of ``answers``, without the seconds of their worker."""
        refused = [(answer.path, answer.outcome) for answer in answers if isinstance(answer.outcome, Refusal)]
        labels = (one.outcome.prediction.top[0].label for one in answers if isinstance(one.outcome, Recognition))
        return cls(
            images=len(answers),
            duplicates=sum(isinstance(answer.outcome, str) for answer in answers),
            classes=Counter(labels),
            errors=Counter(refusal.code for _, refusal in refused),
            failed=tuple((path, f"{refusal.code}: {refusal.message}") for path, refusal in refused[:_SHOWN]),
            slowest=tuple(nlargest(_SHOWN, ((answer.seconds, answer.path) for answer in answers))),
        )

    @classmethod
    def total(cls, several: "Iterable[Figures]") -> Self:
        """Add up ``several``."""
        figures = list(several)
        return cls(
            images=sum(one.images for one in figures),
            duplicates=sum(one.duplicates for one in figures),
            seconds=sum(one.seconds for one in figures),
            classes=sum((one.classes for one in figures), Counter()),
            errors=sum((one.errors for one in figures), Counter()),
            failed=tuple(islice(chain.from_iterable(one.failed for one in figures), _SHOWN)),
            slowest=tuple(nlargest(_SHOWN, chain.from_iterable(one.slowest for one in figures))),
        )

    def text(self) -> str:
        """Return the figures as lines for people."""
        rate = f", {self.images / self.seconds:.1f} per second and worker" if self.seconds else ""
        failed = ", ".join([f"{self.errors.total():,}", *(f"{count:,} {code}" for code, count in self.errors.items())])
        lines = [
            f"images        {self.images:,}{rate}",
            f"recognized    {self.classes.total():,} as {len(self.classes):,} classes",
            *([f"duplicates    {self.duplicates:,}"] if self.duplicates else []),
            f"failed        {failed}",
            *(f"  {path}: {error}" for path, error in self.failed),
            "slowest",
            *(f"  {seconds:.2f} s  {path}" for seconds, path in self.slowest),
        ]
        return "\n".join(lines)

"""What is in an output, in figures: classes, errors, the slowest images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from io import BytesIO
from typing import Final

from matplotlib.figure import Figure

from src.archive.output import Output, Part
from src.archive.sources import Source
from src.errors import ArchiveError

__all__ = ["Summary", "summarize"]

_SHOWN: Final = 10
_BARS: Final = 40


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of all parts of an output."""

    images: int
    duplicates: int
    worker_seconds: float
    classes: Counter[str]
    errors: Counter[str]
    failed: tuple[tuple[str, str], ...]
    slowest: tuple[tuple[float, str], ...]

    @classmethod
    def of(cls, parts: Sequence[Part]) -> "Summary":
        """Add up ``parts``."""
        return cls(
            sum(part.images for part in parts),
            sum(part.duplicates for part in parts),
            sum(part.seconds for part in parts),
            sum((Counter(part.classes) for part in parts), Counter()),
            sum((Counter(part.errors) for part in parts), Counter()),
            tuple(failure for part in parts for failure in part.failed)[:_SHOWN],
            tuple(nlargest(_SHOWN, (slow for part in parts for slow in part.slowest))),
        )

    def text(self) -> str:
        """Return the figures as lines for people."""
        rate = self.images / self.worker_seconds if self.worker_seconds else 0.0
        lines = [
            f"images        {self.images:,}, {rate:.1f} a second and worker",
            f"recognized    {self.classes.total():,} as {len(self.classes):,} classes",
            *([f"duplicates    {self.duplicates:,}"] if self.duplicates else []),
            ", ".join(
                [f"failed        {self.errors.total():,}", *(f"{n:,} {code}" for code, n in self.errors.items())]
            ),
            *(f"  {path}: {error}" for path, error in self.failed),
            "slowest",
            *(f"  {seconds:.2f} s  {path}" for seconds, path in self.slowest),
        ]
        return "\n".join(lines)

    def histogram(self) -> bytes:
        """Return a PNG of how many images are of each class, of the most frequent ones."""
        shown = self.classes.most_common(_BARS)[::-1]
        figure = Figure(figsize=(8, 1.5 + 0.22 * len(shown)), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh([label for label, _ in shown], [images for _, images in shown])
        axes.bar_label(bars, fmt="{:,.0f}", padding=3)
        axes.set(xlabel="images", title=f"{self.classes.total():,} images, {len(self.classes):,} classes")
        content = BytesIO()
        figure.savefig(content, format="png", dpi=120)
        return content.getvalue()


def summarize(sources: Sequence[Source], output: Output) -> Summary:
    """Check that ``output`` has each of ``sources`` once, write its summary beside it, and return it.

    Raises:
        ArchiveError: One is missing, or is there twice.
    """
    parts = output.finished()
    times = Counter(name for part in parts for name in part.sources)
    wrong = [source.name for source in sources if not times[source.name]]
    wrong += [name for name, n in times.items() if n > 1]
    if wrong:
        raise ArchiveError(f"{len(wrong)} inputs are not in the output once: {wrong[0]} is {times[wrong[0]]} times.")
    summary = Summary.of(parts)
    output.write_beside("summary/summary.txt", summary.text().encode())
    if summary.classes:
        output.write_beside("summary/classes.png", summary.histogram())
    return summary

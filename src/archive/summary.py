"""The end of a run: whether everything is there, and what is in it."""

from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import Final

from matplotlib.figure import Figure

from src.archive.figures import Figures
from src.archive.output import Output
from src.archive.sources import Source
from src.errors import ArchiveError

__all__ = ["summarize"]

_BARS: Final = 40


def summarize(sources: Sequence[Source], output: Output) -> Figures:
    """Check that ``output`` has each of ``sources`` once, write its summary beside it, and return it.

    Raises:
        ArchiveError: One is missing, or is there twice.
    """
    parts = output.finished()
    times = Counter(name for part in parts for name in part.sources)
    wrong = [source.name for source in sources if not times[source.name]]
    wrong += [name for name, count in times.items() if count > 1]
    if wrong:
        raise ArchiveError(f"{len(wrong)} inputs are not in the output once: {wrong[0]} is {times[wrong[0]]} times.")
    figures = Figures.total(part.figures for part in parts)
    output.write_beside("summary/summary.txt", figures.text().encode())
    if figures.classes:
        output.write_beside("summary/classes.png", _histogram(figures.classes))
    return figures


def _histogram(classes: Counter[str]) -> bytes:
    """Return a PNG of how many images are of each class, of the most frequent ones."""
    shown = classes.most_common(_BARS)[::-1]
    figure = Figure(figsize=(8, 1.5 + 0.22 * len(shown)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([label for label, _ in shown], [images for _, images in shown])
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set(xlabel="images", title=f"{classes.total():,} images, {len(classes):,} classes")
    content = BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()

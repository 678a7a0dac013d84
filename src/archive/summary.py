"""Check the output at the end of a run, and summarize it."""

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
    """Check that ``output`` has each of ``sources`` once, write its figures into it, and return them.

    Raises:
        ArchiveError: A source is missing or repeated.
    """
    parts = output.finished()
    times = Counter(name for part in parts for name in part.sources)
    wrong = [source.name for source in sources if not times[source.name]]
    wrong += [name for name, count in times.items() if count > 1]
    if wrong:
        first = f"{wrong[0]} is there {times[wrong[0]]} times"
        raise ArchiveError(f"{len(wrong)} inputs are missing from the output or repeated in it: {first}.")
    figures = Figures.total(part.figures for part in parts)
    output.write_beside("summary/summary.txt", figures.text().encode())
    if figures.classes:
        output.write_beside("summary/classes.png", _histogram(figures.classes))
    return figures


def _histogram(classes: Counter[str]) -> bytes:
    """Return a PNG histogram of the most frequent classes."""
    shown = classes.most_common(_BARS)[::-1]
    figure = Figure(figsize=(8, 1.5 + 0.22 * len(shown)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(range(len(shown)), [images for _, images in shown])
    axes.set_yticks(range(len(shown)), [label for label, _ in shown], parse_math=False)  # names may have dollar signs
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set(xlabel="images", title=f"{classes.total():,} images, {len(classes):,} classes")
    content = BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()

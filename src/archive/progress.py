"""Show a progress bar with the rate and the time left."""

from collections.abc import Sequence
from typing import Self

from tqdm import tqdm

from src.archive.output import Part
from src.archive.sources import Source

__all__ = ["Bar"]


class Bar:
    """Progress in images, after ``done`` of earlier runs; the number in a tar file is estimated from finished ones."""

    def __init__(self, sources: Sequence[Source], done: int = 0) -> None:
        self._known = done + sum(source.images or 0 for source in sources)
        self._unknown = {source.name for source in sources if source.images is None}
        self._counted: list[int] = []
        total = None if self._unknown else self._known
        self._bar = tqdm(total=total, initial=done, unit=" images", smoothing=0.1, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    @property
    def total(self) -> int | None:
        """Number of images, possibly an estimate; None if it is unknown."""
        return None if self._bar.total is None else int(self._bar.total)

    def advance(self, part: Part) -> None:
        """Show that ``part`` is done."""
        if self._unknown.intersection(part.sources):
            self._unknown.difference_update(part.sources)
            self._counted.append(part.figures.images)
            self._known += part.figures.images
            self._bar.total = self._known + round(len(self._unknown) * sum(self._counted) / len(self._counted))
        self._bar.update(part.figures.images)

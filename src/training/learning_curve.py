"""Read and complete metrics.csv, which Lightning writes, and plot the learning curve from it."""

import csv
import sys
from pathlib import Path

__all__ = ["history", "plot", "prepend", "read_rows"]


def read_rows(file: Path) -> list[dict[str, str]]:
    """Return the rows of a metrics file; empty if it does not exist."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def prepend(earlier: list[dict[str, str]], file: Path) -> None:
    """Put the ``earlier`` rows of a resumed run back before the new ones, since Lightning starts a new file."""
    if not earlier:
        return
    later = read_rows(file)
    first = min((int(row["epoch"]) for row in later), default=sys.maxsize)
    rows = [row for row in earlier if int(row["epoch"]) < first] + later
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, dict.fromkeys(name for row in rows for name in row))
        writer.writeheader()
        writer.writerows(rows)


def history(file: Path) -> dict[str, dict[int, float]]:
    """Return each metric by epoch, counted from 1."""
    metrics: dict[str, dict[int, float]] = {}
    for row in read_rows(file):
        for name, value in row.items():
            if name not in {"epoch", "step"} and value:
                metrics.setdefault(name, {})[int(row["epoch"]) + 1] = float(value)
    return metrics


def plot(metrics: dict[str, dict[int, float]], file: Path) -> None:
    """Plot the training and validation loss and accuracy by epoch; ``file`` is a PNG of 1080 x 432 pixels."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes a second, which --help must not wait for
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, metric, factor, label in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), (1, 100), ("loss (cross-entropy)", "accuracy (%)"), strict=True
    ):
        for part, name in (("train", "training"), ("val", "validation")):
            values = metrics.get(f"{part}_{metric}", {})
            axes.plot(list(values), [factor * value for value in values.values()], marker="o", label=name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(file, dpi=120)

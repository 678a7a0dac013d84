"""Plot the results, as PNG and SVG."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tests.benchmarks.photos import SMALL
from tests.benchmarks.plan import HEATMAP
from tests.benchmarks.results import GrowthPoint, Measurement, Results
from tests.benchmarks.services import OURS

__all__ = ["write_plots"]

_OUR_COLOUR: Final = "#0b6e4f"
_COLORS: Final = {
    OURS: _OUR_COLOUR,
    "LitServe + grad-cam": "#4a6fa5",
    "BentoML, naive": "#8d6a9f",
    "tutorial, tuned": "#c8553d",
    "tutorial": "#e0a458",
}
_OTHER_COLOUR: Final = "#999999"  # another network
_DPI: Final = 110
_LOAD: Final = 16
_LEAST: Final = 0.1  # requests per second, the start of the axis


def write_plots(results: Results, folder: Path) -> tuple[Path, ...]:
    """Write ``throughput``, ``latency`` and ``growth`` to ``folder``, each as PNG and SVG; return the files."""
    mpl.rcParams["svg.hashsalt"] = "benchmark"  # so that the same figures result in the same file
    drawings: dict[str, Callable[[Results], Figure]] = {
        "throughput": _throughput,
        "latency": _latency,
        "growth": _growth,
    }
    files = []
    for name, draw in drawings.items():
        figure = draw(results)
        for ending in ("png", "svg"):
            files.append(folder / f"{name}.{ending}")
            figure.savefig(files[-1], dpi=_DPI, metadata={"Date": None} if ending == "svg" else {})
    return tuple(files)


def _throughput(results: Results) -> Figure:
    """Draw bars of the throughput at 16 clients, and the throughput over the number of clients."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    bars, lines = figure.subplots(1, 2)
    rows = sorted(_at_load(results), key=lambda m: m.per_second.median)
    names, rates = [m.service for m in rows], [m.per_second.median for m in rows]
    errors = [
        [m.per_second.median - m.per_second.low for m in rows],
        [m.per_second.high - m.per_second.median for m in rows],
    ]
    bars.barh(names, rates, xerr=errors, color=[_color(name) for name in names], ecolor="#333333", capsize=3)
    for index, m in enumerate(rows):
        bars.text(max(m.per_second.high, _LEAST) * 1.12, index, f"{m.per_second.median:.3g}", va="center")
    bars.set(xscale="log", xlabel="requests per second (log scale)", title="Small photos, heatmap on, 16 clients")
    bars.set_xlim(_LEAST, 3 * max(rates, default=1))
    _plain_log(bars.xaxis)
    _lines(lines, results, lambda m: m.per_second.median)
    lines.set(xlabel="clients", ylabel="requests per second (log scale)", title="Throughput over clients")
    return figure


def _latency(results: Results) -> Figure:
    """Draw p50, p95 and p99 at 16 clients, and p50 over the number of clients."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    marks, lines = figure.subplots(1, 2)
    rows = sorted(_at_load(results), key=lambda m: -m.p50.median)
    for index, m in enumerate(rows):
        color = _color(m.service)
        marks.plot([m.p50.median, m.p99.median], [index, index], color=color, linewidth=2)
        for value, marker in ((m.p50, "o"), (m.p95, "s"), (m.p99, "D")):
            marks.plot(value.median, index, marker, color=color)
    marks.set_yticks(range(len(rows)), [m.service for m in rows])
    marks.set(xscale="log", xlabel="milliseconds (log scale): circle p50, square p95, diamond p99")
    marks.set_title("Small photos, heatmap on, 16 clients")
    _plain_log(marks.xaxis)
    _lines(lines, results, lambda m: m.p50.median)
    lines.set(xlabel="clients", ylabel="p50 in milliseconds (log scale)", title="Latency over clients")
    return figure


def _growth(results: Results) -> Figure:
    """Draw milliseconds per image over megapixels, batch length and network size."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    plots = figure.subplots(1, 3)
    _curve(plots[0], results.megapixels, "megapixels of the image", "Size of the image, 4 clients")
    _curve(plots[1], results.batches, "images in the batch", "Length of the batch, 1 client")
    _curve(plots[2], results.networks, "GFLOP of a forward pass", "Size of the network, 4 clients", named=True)
    return figure


def _curve(axes: Axes, points: Iterable[GrowthPoint], label: str, title: str, *, named: bool = False) -> None:
    found = list(points)
    times = [1000 / point.per_second.median for point in found]
    axes.plot([point.size for point in found], times, "-o", color=_OUR_COLOUR)
    if named:
        for point, milliseconds in zip(found, times, strict=True):
            axes.annotate(point.label, (point.size, milliseconds), (6, -4), textcoords="offset points", fontsize=8)
    axes.set(xlabel=label, ylabel="milliseconds per image", title=title)
    axes.set_xlim(left=0, right=1.35 * max((point.size for point in found), default=1) if named else None)
    axes.set_ylim(0, 1.15 * max(times, default=1))
    axes.grid(alpha=0.3)


def _lines(axes: Axes, results: Results, value: Callable[[Measurement], float]) -> None:
    small = [m for m in results.measurements if (m.photos, m.variant) == (SMALL, HEATMAP)]
    counts = {m.service: sum(n.service == m.service for n in small) for m in small}
    names = [name for name, count in counts.items() if count > 1 and "AlexNet" not in name]
    for name in names:
        points = sorted((m.clients, value(m)) for m in small if m.service == name)
        axes.plot(*zip(*points, strict=True), "-o", label=name, color=_color(name))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    clients = sorted({m.clients for m in small})
    axes.set_xticks(clients, [str(count) for count in clients])
    _plain_log(axes.yaxis)
    axes.legend(fontsize=8)


def _at_load(results: Results) -> list[Measurement]:
    return [m for m in results.measurements if (m.photos, m.variant, m.clients) == (SMALL, HEATMAP, _LOAD)]


def _color(service: str) -> str:
    return _COLORS.get(service, _OTHER_COLOUR)


def _plain_log(axis: Axis) -> None:
    """Label the axis 1, 2, 5, 10 instead of powers of ten."""
    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)

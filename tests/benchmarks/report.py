"""Write the results as a Markdown report."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.limits import BACKBONE
from tests.benchmarks.photos import SMALL
from tests.benchmarks.plan import HEATMAP, VARIANTS
from tests.benchmarks.results import GrowthPoint, Measurement, Results
from tests.benchmarks.services import OURS
from tests.benchmarks.stages import STAGES, WHOLE
from tests.benchmarks.statistic import number
from tests.benchmarks.targets import judge

__all__ = ["table", "write_report"]

_LOAD: Final = 16
_NOTES: Final = """\
Every figure is the median of the repetitions, with the lowest and the highest in parentheses. All services were started
first and put under load in turn, one at a time, so that noise affected all equally. "Memory" is the highest
proportional set size of the server and its descendants, "CPU" their processor time per answer. "tutorial" is the
tutorial's service unchanged: one worker per core, each with as many torch threads as cores; "tuned" gives each worker
one thread. LitServe has one worker per core, with one thread each and no batching, which was no faster. "the libraries
alone" is the limit: a Bento service in which OpenVINO, Pillow and OpenCV do only the work needed for an answer, without
checks, percentages or metrics. Latencies are for closed loops, in which each client sends its next request as soon as
it is answered; without any answer in time, they are at least as long as the load. Our service, LitServe and the
libraries alone return a JPEG image, the others PNG. Images of our service and the libraries alone have at most 1024
pixels on the longer side; those of the others are as large as the photo.
"""


def write_report(results: Results, folder: Path) -> Path:
    """Write ``report.md``, which links to the plots, to ``folder``; return the file."""
    file = folder / "report.md"
    file.write_text("\n".join(_chapters(results)), encoding="utf-8")
    return file


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns except the first are right-aligned."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _chapters(results: Results) -> Iterable[str]:
    machine = results.machine
    command = "python -m tests.benchmarks --quick" if machine.quick else "make benchmark"
    yield "# Benchmark\n"
    yield (
        f"`{command}` on {machine.cores} cores of {machine.processor}, {machine.memory:.0f} GB; "
        f"Python {machine.python}, "
        f"{', '.join(f'{name} {version}' for name, version in machine.packages.items())}; {machine.date}, commit "
        f"{machine.commit}, {machine.minutes:.0f} minutes.\n"
    )
    yield (
        "Photos: "
        + "; ".join(
            f"{p.name}: {p.count} JPEG files of {p.width} x {p.height} pixels, {p.kilobytes:.0f} kB each"
            for p in results.photos
        )
        + ".\n"
    )
    yield _NOTES
    yield "## Small photos, heatmap on, 16 clients\n"
    yield _headline(results)
    yield "![Throughput of the services](throughput.png)\n\n![Latency of the services](latency.png)\n"
    yield "## Targets\n"
    yield table(
        ("small photos, 16 clients, heatmap on, unless stated otherwise", "target", "measured", ""),
        (v.cells for v in judge(results)),
    )
    yield "## All loads\n"
    yield _loads(results)
    yield f"While idle, all services together used {results.idle:.2%} of one core.\n"
    yield "## The engine alone\n"
    yield _engine(results)
    yield "## Where the time of one image goes, in milliseconds\n"
    yield _stages(results)
    yield "## How the cost grows\n"
    yield "![Growth](growth.png)\n"
    yield _growth("megapixels of the image", "ms per megapixel", results.megapixels)
    yield _growth("images in the batch", "", results.batches)
    yield _growth("network", "served GFLOP/s", results.networks)


def _headline(results: Results) -> str:
    rows = [
        (
            f"**{m.service}**" if m.service.startswith(OURS) else m.service,
            str(m.per_second),
            number(m.p50.median),
            number(m.p95.median),
            number(m.p99.median),
            number(1000 * m.cpu.median),
            number(m.memory),
            str(results.startup.get(m.service, "")),
        )
        for m in results.measurements
        if (m.photos, m.variant, m.clients) == (SMALL, HEATMAP, _LOAD)
    ]
    head = ("service", "requests/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms/request", "memory MB", "start to ready, s")
    return table(head, rows)


def _loads(results: Results) -> str:
    head = (
        "photos",
        "answer",
        "service",
        "clients",
        "requests/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "CPU ms/request",
        "memory MB",
        "failed",
    )
    ordered = sorted(results.measurements, key=lambda m: (*_place(results, m), m.service, m.clients))
    return table(head, (_load_cells(m) for m in ordered))


def _place(results: Results, m: Measurement) -> tuple[int, int]:
    return [p.name for p in results.photos].index(m.photos), list(VARIANTS).index(m.variant)


def _load_cells(m: Measurement) -> tuple[str, ...]:
    latencies = (str(m.p50), str(m.p95), str(m.p99))
    cost = (number(1000 * m.cpu.median), number(m.memory), str(m.failures))
    return m.photos, m.variant, m.service, str(m.clients), str(m.per_second), *latencies, *cost


def _engine(results: Results) -> str:
    engine = table(
        ("OpenVINO, fp32", "images/s"),
        [(f"{f.network}, batches of {f.batch}, {f.streams} streams", str(f.per_second)) for f in results.engine]
        + [(f"{BACKBONE}, one image on one core", f"{results.forward} ms")],
    )
    decoding = table(
        ("JPEG decoding, Pillow", "ms on one core", "files/s on all cores"),
        [(f"{d.photos}, {d.way}", str(d.milliseconds), str(d.per_second)) for d in results.decoding],
    )
    return f"{engine}\n{decoding}"


def _stages(results: Results) -> str:
    sets = list(dict.fromkeys(figure.photos for figure in results.stages))
    found = {(figure.photos, figure.stage): figure.milliseconds.median for figure in results.stages}
    rows = [[stage, *(number(found[name, stage]) for name in sets)] for stage in (*STAGES, WHOLE) if sets]
    if sets:
        rows.append(
            ["HTTP: the rest of a request, one client", *(_http(results, name, found[name, WHOLE]) for name in sets)]
        )
    return table(("stage", *sets), rows)


def _http(results: Results, photos: str, whole: float) -> str:
    request = results.find(OURS, photos, HEATMAP, 1)
    return "not measured" if request is None else number(request.p50.median - whole)


def _growth(size: str, derived: str, points: tuple[GrowthPoint, ...]) -> str:
    def cells(point: GrowthPoint) -> list[str]:
        milliseconds = 1000 / point.per_second.median
        extra = {
            "ms per megapixel": lambda: number(milliseconds / point.size),
            "served GFLOP/s": lambda: f"{number(point.size * point.per_second.median)} of {number(point.size)} each",
        }
        return [point.label, str(point.per_second), number(milliseconds), *([extra[derived]()] if derived else [])]

    return table((size, "images/s", "ms per image", *([derived] if derived else [])), map(cells, points))

"""The service's targets, relative to what was measured in the same run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.limits import BACKBONE
from tests.benchmarks.photos import HUGE, SMALL
from tests.benchmarks.plan import HEATMAP, NO_HEATMAP
from tests.benchmarks.results import Measurement, Results
from tests.benchmarks.services import BARE, BARE_ALEXNET, OUR_ALEXNET, OURS
from tests.benchmarks.stages import GRADCAM, NETWORK
from tests.benchmarks.statistic import number

__all__ = ["TARGETS", "Target", "Verdict", "judge"]

_LOAD: Final = 16


Figure = Callable[[Results], float | None]


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its bound; ``figure`` returns ``None`` if the run did not measure it."""

    what: str
    bound: float
    at_least: bool
    unit: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and its measured figure, and whether that is enough; both ``None`` if it was not measured."""

    target: Target
    measured: float | None

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached."""
        if self.measured is None:
            return None
        return self.measured >= self.target.bound if self.target.at_least else self.measured <= self.target.bound

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The name of the target, its bound, the figure and the verdict, as text."""
        sign = "at least" if self.target.at_least else "at most"
        unit = self.target.unit
        measured = "not measured" if self.measured is None else f"{number(self.measured)}{unit}"
        word = {True: "reached", False: "**missed**", None: ""}[self.reached]
        return self.target.what, f"{sign} {number(self.target.bound)}{unit}", measured, word


def judge(results: Results) -> tuple[Verdict, ...]:
    """Compare ``results`` with every target."""
    return tuple(Verdict(target, target.figure(results)) for target in TARGETS)


def _at(results: Results, service: str = OURS, variant: str = HEATMAP) -> Measurement | None:
    return results.find(service, SMALL, variant, _LOAD)


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    return numerator / denominator if numerator is not None and denominator else None


def _throughput(service: str = OURS, variant: str = HEATMAP) -> Figure:
    def figure(results: Results) -> float | None:
        found = _at(results, service, variant)
        return None if found is None else found.per_second.median

    return figure


def _times(ours: Figure, other: Figure) -> Figure:
    return lambda results: _ratio(ours(results), other(results))


def _engine(results: Results) -> float | None:
    return max((figure.per_second.median for figure in results.engine if figure.network == BACKBONE), default=None)


def _percent(numerator: Figure, denominator: Figure) -> Figure:
    def figure(results: Results) -> float | None:
        share = _ratio(numerator(results), denominator(results))
        return None if share is None else 100 * share

    return figure


def _huge_p50(service: str = OURS, variant: str = HEATMAP) -> Figure:
    def figure(results: Results) -> float | None:
        found = results.find(service, HUGE, variant, 1)
        return None if found is None else found.p50.median

    return figure


def _limit(way: str) -> Figure:
    """Return the milliseconds on one core to decode a huge file by ``way``, of ``engine.WAYS``, and a forward pass."""

    def figure(results: Results) -> float | None:
        decoding = (d.milliseconds.median for d in results.decoding if (d.photos, d.way) == (HUGE, way))
        return next((each + results.forward.median for each in decoding), None)

    return figure


def _stage(name: str) -> Figure:
    return lambda results: next(
        (f.milliseconds.median for f in results.stages if (f.photos, f.stage) == (SMALL, name)), None
    )


def _gradcam_percent(results: Results) -> float | None:
    share = _ratio(_stage(GRADCAM)(results), _stage(NETWORK)(results))
    return None if share is None else 100 * share


def _tail(results: Results) -> float | None:
    found = _at(results)
    return None if found is None else _ratio(found.p99.median, found.p50.median)


def _startup(results: Results) -> float | None:
    return results.startup[OURS].median if OURS in results.startup else None


def _memory(results: Results) -> float | None:
    return max((m.memory for m in results.measurements if m.service == OURS), default=None)


def _growth(results: Results) -> float | None:
    return None if results.soak is None else 100 * results.soak.growth()


def _at_least(bound: float, unit: str, what: str, figure: Figure) -> Target:
    return Target(what, bound, at_least=True, unit=unit, figure=figure)


def _at_most(bound: float, unit: str, what: str, figure: Figure) -> Target:
    return Target(what, bound, at_least=False, unit=unit, figure=figure)


_OUR_ALEXNET: Final = _throughput(OUR_ALEXNET)
TARGETS: Final = (
    _at_least(
        20,
        "x",
        "throughput, relative to the tutorial tuned to one thread per worker",
        _times(_throughput(), _throughput("tutorial, tuned")),
    ),
    _at_least(
        20, "x", "throughput, relative to the tutorial unchanged", _times(_throughput(), _throughput("tutorial"))
    ),
    _at_least(
        8,
        "x",
        "throughput, relative to LitServe + grad-cam",
        _times(_throughput(), _throughput("LitServe + grad-cam")),
    ),
    _at_least(
        40,
        "x",
        "AlexNet's throughput, relative to the tutorial tuned to one thread per worker",
        _times(_OUR_ALEXNET, _throughput("tutorial, AlexNet, tuned")),
    ),
    _at_least(
        40,
        "x",
        "AlexNet's throughput, relative to the tutorial unchanged",
        _times(_OUR_ALEXNET, _throughput("tutorial, AlexNet")),
    ),
    _at_least(
        90,
        " %",
        "the limit: share of the throughput of the libraries alone, AlexNet",
        _percent(_OUR_ALEXNET, _throughput(BARE_ALEXNET)),
    ),
    _at_least(65, " %", "share of the engine's throughput, heatmap on", _percent(_throughput(), _engine)),
    _at_least(
        75, " %", "share of the engine's throughput, heatmap off", _percent(_throughput(variant=NO_HEATMAP), _engine)
    ),
    _at_least(
        90,
        " %",
        "the limit: share of the throughput of the libraries alone, heatmap on",
        _percent(_throughput(), _throughput(BARE)),
    ),
    _at_least(
        90,
        " %",
        "the limit: share of the throughput of the libraries alone, heatmap off",
        _percent(_throughput(variant=NO_HEATMAP), _throughput(BARE, NO_HEATMAP)),
    ),
    _at_most(5, " %", "Grad-CAM's arithmetic, relative to the forward pass", _gradcam_percent),
    _at_least(
        0.8,
        "x",
        "throughput with heatmap, relative to without",
        _times(_throughput(), _throughput(variant=NO_HEATMAP)),
    ),
    _at_least(
        15,
        "x",
        "12 megapixels: speed at p50, relative to the tutorial, tuned",
        _times(_huge_p50("tutorial, tuned"), _huge_p50()),
    ),
    _at_most(
        2,
        "x",
        "12 megapixels, heatmap off: p50, relative to decoding for the network and a forward pass",
        _times(_huge_p50(variant=NO_HEATMAP), _limit("reduced for the network")),
    ),
    _at_most(
        2,
        "x",
        "12 megapixels, heatmap on: p50, relative to decoding for the returned image and a forward pass",
        _times(_huge_p50(), _limit("reduced for the returned image")),
    ),
    _at_least(
        90,
        " %",
        "the limit: share of the speed of the libraries alone, p50 of 12 megapixels",
        _percent(_huge_p50(BARE), _huge_p50()),
    ),
    _at_most(3, "x", "p99, relative to p50", _tail),
    _at_most(4, " s", "start to ready", _startup),
    _at_most(900, " MB", "highest memory (PSS) under any load", _memory),
    _at_most(2, " %", "growth of memory in the soak", _growth),
)
"""The chapter "Targets"; unless stated otherwise, with small photos, 16 clients and heatmap on."""

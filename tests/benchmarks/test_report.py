"""Figures -> verdicts, tables and images."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.benchmarks.limits import BACKBONE
from tests.benchmarks.photos import SMALL
from tests.benchmarks.plan import HEATMAP, NO_HEATMAP, full_plan, quick_plan
from tests.benchmarks.plots import write_plots
from tests.benchmarks.report import table, write_report
from tests.benchmarks.results import (
    EngineFigure,
    GrowthPoint,
    Machine,
    Measurement,
    Memory,
    PhotoFacts,
    Results,
    StageFigure,
)
from tests.benchmarks.services import OURS, compared_services
from tests.benchmarks.stages import STAGES, WHOLE, resolve
from tests.benchmarks.statistic import Spread
from tests.benchmarks.targets import TARGETS, judge


def measured(service: str, rate: float, variant: str = HEATMAP, clients: int = 16) -> Measurement:
    """Return a measurement of small photos; p50 is 10 ms, p99 20 ms."""
    latencies = (Spread.of([10]), Spread.of([15]), Spread.of([20]))
    return Measurement(
        service, SMALL, variant, clients, Spread.of([rate]), *latencies, Spread.of([0.01]), 300.0, 100, 0
    )


@pytest.fixture
def results() -> Results:
    """A run in which ours is 30 times as fast as the tutorial and 5 times as LitServe."""
    return Results(
        machine=Machine("a processor", 2, 24, "3.11", {"torch": "2"}, "abc", "2026-01-01", quick=False),
        photos=(PhotoFacts(SMALL, 451, 300, 6, 12.0),),
        measurements=(
            measured(OURS, 150),
            measured(OURS, 170, NO_HEATMAP),
            measured(OURS, 100, clients=1),
            measured("LitServe + grad-cam", 30),
            measured("tutorial, tuned", 5),
        ),
        startup={OURS: Spread.of([3.5])},
        idle=0.001,
        forward=Spread.of([6]),
        engine=(EngineFigure(BACKBONE, 1, 2, Spread.of([200])),),
        decoding=(),
        megapixels=(GrowthPoint("1", 1, Spread.of([50])), GrowthPoint("4", 4, Spread.of([25]))),
        stages=tuple(StageFigure(SMALL, stage, Spread.of([0.5])) for stage in (*STAGES, WHOLE)),
        soak=Memory((0, 2000, 4000), (250.0, 300.0, 300.0)),
    )


def test_targets_are_judged(results: Results) -> None:
    """Each target is reached, missed, or was not measured."""
    verdicts = {verdict.target.what: (verdict.measured, verdict.reached) for verdict in judge(results)}
    assert verdicts["throughput, beside the tutorial tuned to one thread a worker"] == (30, True)
    assert verdicts["throughput, beside LitServe + grad-cam"] == (5, False)
    assert verdicts["throughput, beside the tutorial as it comes"] == (None, None)
    assert verdicts["share of the engine's throughput, heatmap on"] == (75, True)
    assert verdicts["p99 beside p50"] == (2, True)
    assert verdicts["growth of memory in the soak"] == (0, True)
    assert len(verdicts) == len(TARGETS)


def test_memory_grows_from_the_first_requests_on() -> None:
    """In a short run, those are a tenth."""
    assert Memory((0, 10, 50, 100), (100.0, 200.0, 201.0, 202.0)).growth() == pytest.approx(0.01)


def test_report_is_written(results: Results, tmp_path: Path) -> None:
    """One row for each service, target and load; the stages, with the rest as HTTP."""
    text = write_report(results, tmp_path).read_text(encoding="utf-8")
    assert "| **this service** | 150 | 10.0 | 15.0 | 20.0 | 10.0 | 300 | 3.50 |" in text
    assert "| LitServe + grad-cam | 30.0 |" in text
    assert "| throughput, beside LitServe + grad-cam | at least 8.00x | 5.00x | **missed** |" in text
    assert "| HTTP: the rest of a request of one client | 9.50 |" in text
    assert "| 4 | 25.0 | 40.0 | 10.0 |" in text


def test_results_are_written_as_json(results: Results, tmp_path: Path) -> None:
    """Every figure is there under its name, and can be read again."""
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results
    read = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert read["measurements"][0]["per_second"] == {"median": 150, "low": 150, "high": 150}


def test_images_are_written(results: Results, tmp_path: Path) -> None:
    """Three, each as PNG and SVG, also where parts were not measured."""
    files = write_plots(dataclasses.replace(results, megapixels=()), tmp_path)
    assert sorted(file.name for file in files) == sorted(
        f"{name}.{ending}" for name in ("growth", "latency", "throughput") for ending in ("png", "svg")
    )
    assert all(file.stat().st_size > 1000 for file in files)


def test_table() -> None:
    """The first column is aligned to the left, the others to the right."""
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --: |\n| 1 | 2 |\n"


@pytest.mark.parametrize("target", [target for targets in STAGES.values() for target in targets])
def test_stages_have_functions(target: str) -> None:
    """Every function that the breakdown names exists."""
    holder, name = resolve(target)
    assert callable(getattr(holder, name))


def test_plans_name_services_that_exist() -> None:
    """Every service of a plan can be started, and ours is the first of its network."""
    names = [service.name for service in compared_services(Path("stored"), Path("alexnet"), Path("weights.pt"))]
    for plan in (full_plan(), quick_plan()):
        assert {name for each in plan.configurations for name in each.services} <= set(names)
    assert names[0] == OURS

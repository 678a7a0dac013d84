"""Verdicts, tables and plots."""

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
    """A run in which our service is 30 times as fast as the tutorial and 5 times as fast as LitServe."""
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
    """Each target is reached, missed or not measured."""
    verdicts = {verdict.target.what: (verdict.measured, verdict.reached) for verdict in judge(results)}
    assert verdicts["throughput, relative to the tutorial tuned to one thread per worker"] == (30, True)
    assert verdicts["throughput, relative to LitServe + grad-cam"] == (5, False)
    assert verdicts["throughput, relative to the tutorial unchanged"] == (None, None)
    assert verdicts["share of the engine's throughput, heatmap on"] == (75, True)
    assert verdicts["p99, relative to p50"] == (2, True)
    assert verdicts["growth of memory in the soak"] == (0, True)
    assert len(verdicts) == len(TARGETS)


def test_memory_growth_ignores_the_first_requests() -> None:
    """In a short run, the first tenth is ignored."""
    assert Memory((0, 10, 50, 100), (100.0, 200.0, 201.0, 202.0)).growth() == pytest.approx(0.01)


def test_report_is_written(results: Results, tmp_path: Path) -> None:
    """It has one row for each service, target, load and stage, with the rest of a request as HTTP."""
    text = write_report(results, tmp_path).read_text(encoding="utf-8")
    assert "| **this service** | 150 | 10.0 | 15.0 | 20.0 | 10.0 | 300 | 3.50 |" in text
    assert "| LitServe + grad-cam | 30.0 |" in text
    assert "| throughput, relative to LitServe + grad-cam | at least 8.00x | 5.00x | **missed** |" in text
    assert "| HTTP: the rest of a request, one client | 9.50 |" in text
    assert "| 4 | 25.0 | 40.0 | 10.0 |" in text


def test_results_are_written_as_json(results: Results, tmp_path: Path) -> None:
    """Every figure has its name, and can be read again."""
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results
    read = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert read["measurements"][0]["per_second"] == {"median": 150, "low": 150, "high": 150}


def test_plots_are_written(results: Results, tmp_path: Path) -> None:
    """There are three, each as PNG and SVG, even if parts were not measured."""
    files = write_plots(dataclasses.replace(results, megapixels=()), tmp_path)
    assert sorted(file.name for file in files) == sorted(
        f"{name}.{ending}" for name in ("growth", "latency", "throughput") for ending in ("png", "svg")
    )
    assert all(file.stat().st_size > 1000 for file in files)


def test_all_columns_of_a_table_except_the_first_are_right_aligned() -> None:
    """The table is in Markdown."""
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --: |\n| 1 | 2 |\n"


@pytest.mark.parametrize("target", [target for targets in STAGES.values() for target in targets])
def test_the_functions_of_every_stage_exist(target: str) -> None:
    """A renamed function would otherwise be timed as 0."""
    holder, name = resolve(target)
    assert callable(getattr(holder, name))


def test_plans_contain_only_existing_services() -> None:
    """Every service of a plan can be started, and ours is the first one."""
    names = [service.name for service in compared_services(Path("stored"), Path("alexnet"), Path("weights.pt"))]
    for plan in (full_plan(), quick_plan()):
        assert {name for each in plan.configurations for name in each.services} <= set(names)
    assert names[0] == OURS

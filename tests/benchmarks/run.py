"""Run the whole benchmark, from an empty model store to the results."""

import dataclasses
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import bentoml

from tests.benchmarks import growth
from tests.benchmarks.agreement import check_answers
from tests.benchmarks.limits import Limits
from tests.benchmarks.load import write_bodies
from tests.benchmarks.measure import Sample, Stage, summarize
from tests.benchmarks.networks import write_alexnet
from tests.benchmarks.photos import HD, SMALL, PhotoSet, in_display_p3, make_photos
from tests.benchmarks.plan import HEATMAP, VARIANTS, Configuration, Plan
from tests.benchmarks.progress import say
from tests.benchmarks.results import Machine, PhotoFacts, Results
from tests.benchmarks.services import ALEXNET_MODEL, Running, Service, compared_services, our_service, start
from tests.benchmarks.soak import soak
from tests.benchmarks.stages import measure_stages
from tests.benchmarks.statistic import Spread
from tests.benchmarks.store import store_alexnet, store_default

__all__ = ["run"]

_SETTLE_SECONDS: Final = 15
_IDLE_SECONDS: Final = 5

Bodies = dict[tuple[str, str], tuple[Path, ...]]
Samples = dict[tuple[str, Configuration], list[Sample]]


def run(plan: Plan, machine: Machine, folder: Path, file: Path) -> Results:
    """Measure everything in ``plan``, with temporary files in the empty ``folder``.

    The comparison is written to ``file`` as soon as it is done, so that a later failure does not lose it.
    """
    say("making photos, storing networks")
    photos = {name: make_photos(name) for name in plan.photos}
    bodies = _write_bodies(plan, photos, folder)
    weights = folder / "alexnet.pt"
    write_alexnet(weights)
    store_default()
    store_alexnet(weights)
    results = _compared(plan, machine, photos, bodies, weights)
    results.write(file)
    return _ours_alone(plan, photos, bodies, folder, results)


def _compared(plan: Plan, machine: Machine, photos: Mapping[str, PhotoSet], bodies: Bodies, weights: Path) -> Results:
    """Measure all services, and the limits of the machine between their repetitions."""
    samples: Samples = defaultdict(list)
    stored, alexnet = (Path(bentoml.models.get(f"{name}:latest").path) for name in ("image_recognition", ALEXNET_MODEL))
    limits = Limits(plan.engine_batches, tuple(photos.values()))
    with ExitStack() as stack:
        starts = [
            _starts(each, plan.startups, weights.parent, stack) for each in compared_services(stored, alexnet, weights)
        ]
        stage = Stage([found[-1] for found in starts], weights.parent)
        stack.push(stage)
        stage.pace.update(_check_all(plan, stage.running, photos))
        idle = _idle_share(stage.running)
        for repetition in range(plan.repetitions):
            say(f"repetition {repetition + 1} of {plan.repetitions}")
            limits.measure(plan.seconds / 2)
            _one_repetition(plan, stage, bodies, samples)
    return Results(
        machine=machine,
        photos=tuple(PhotoFacts(p.name, p.width, p.height, len(p.files), p.mean_kilobytes) for p in photos.values()),
        measurements=summarize(samples),
        startup={found[0].service.name: Spread.of(each.startup for each in found) for found in starts},
        idle=idle,
        forward=limits.forward(),
        engine=limits.engine(),
        decoding=limits.decoding(),
    )


def _ours_alone(plan: Plan, photos: Mapping[str, PhotoSet], bodies: Bodies, folder: Path, results: Results) -> Results:
    """Add the measurements that are only of our service."""
    small = bodies[SMALL, HEATMAP]
    ours = start(our_service(), folder)
    try:
        megapixels = growth.by_megapixels(ours, plan, folder)
        batches = growth.by_batch(ours, photos[SMALL], plan, folder)
        memory = soak(ours, small, plan.soak)
    finally:
        ours.tree.end()
    networks = growth.by_network(small, plan, folder)
    staged = [*photos.values(), in_display_p3(photos[HD])] if HD in photos else photos.values()
    stages = [figure for each in staged for figure in measure_stages(each, plan.seconds)]
    return dataclasses.replace(
        results, megapixels=megapixels, batches=batches, networks=networks, stages=tuple(stages), soak=memory
    )


def _write_bodies(plan: Plan, photos: Mapping[str, PhotoSet], folder: Path) -> Bodies:
    wanted = dict.fromkeys((c.photos, c.variant) for c in plan.configurations)
    return {
        (name, variant): write_bodies(
            folder / f"{name}, {variant}", [{"img": file, **VARIANTS[variant]} for file in photos[name].files]
        )
        for name, variant in wanted
    }


def _starts(service: Service, times: int, logs: Path, stack: ExitStack) -> list[Running]:
    """Start ``service`` several times, one after the other; the last one keeps running."""
    started: list[Running] = []
    for _ in range(times):
        if started:
            started[-1].tree.end()
        started.append(start(service, logs))
        started[-1].tree.wait_until_idle(_SETTLE_SECONDS)  # a second worker may still be loading
        say(f"{service.name} is ready after {started[-1].startup:.1f} s")
    stack.callback(started[-1].tree.end)
    return started


def _check_all(
    plan: Plan, running: tuple[Running, ...], photos: Mapping[str, PhotoSet]
) -> dict[tuple[str, str], float]:
    """Check the answers of the services that are measured with each set; return their seconds per answer."""
    pace: dict[tuple[str, str], float] = {}
    for each in photos.values():
        asked = [r for r in running if r.service.name in plan.services(each.name)]
        pace |= check_answers(asked, each)
        say(f"{len(asked)} services agree about the {each.name} photos")
    return pace


def _idle_share(running: tuple[Running, ...]) -> float:
    """Return the share of one core that all services together use without requests."""
    before = sum(each.tree.cpu_seconds() for each in running)
    time.sleep(_IDLE_SECONDS)
    return (sum(each.tree.cpu_seconds() for each in running) - before) / _IDLE_SECONDS


def _one_repetition(plan: Plan, stage: Stage, bodies: Bodies, samples: Samples) -> None:
    for configuration in plan.configurations:
        for service in configuration.services:
            sample = stage.measure(service, configuration, bodies[configuration.photos, configuration.variant], plan)
            samples[service, configuration].append(sample)
            say(sample.line(service, configuration))

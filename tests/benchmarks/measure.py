"""Measure the services under load, one at a time."""

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.benchmarks.load import Load, parse, start_wrk
from tests.benchmarks.plan import Configuration, Plan
from tests.benchmarks.results import Measurement
from tests.benchmarks.services import Running, start
from tests.benchmarks.statistic import Spread

__all__ = ["Sample", "Stage", "put_under_load", "summarize"]

_SETTLE_SECONDS: Final = 5
_MEMORY_SECONDS: Final = 1.0
_ROUNDS: Final = 3  # answers per client that a load should last for
_PATH: Final = "/image_recognition"


@dataclass(frozen=True, slots=True)
class Sample:
    """One load: the counts of wrk, processor seconds per answer, highest proportional set size in bytes."""

    load: Load
    cpu: float
    memory: int

    def line(self, service: str, configuration: Configuration) -> str:
        """Return the figures as one line."""
        load, failed = self.load, self.load.refused + self.load.broken
        return (
            f"{configuration.photos}, {configuration.variant}, {configuration.clients:2d} clients: {service:24s}"
            f" {load.per_second:8.2f}/s  p50 {load.p50:8.1f} ms  p99 {load.p99:8.1f} ms  {1000 * self.cpu:7.1f} CPU ms"
            f"  {self.memory / 1e6:5.0f} MB{f'  {failed} FAILED' if failed else ''}"
        )


class Stage:
    """All services, started and idle except the one under load.

    Each repetition can therefore measure them in turn, so that noise affects all equally and all are warm.
    """

    def __init__(self, running: Iterable[Running], logs: Path) -> None:
        self._running = {each.service.name: each for each in running}
        self._logs = logs
        self.pace: dict[tuple[str, str], float] = {}
        """Seconds between answers, by service and photo set, as last measured."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        for each in self.running:
            each.tree.end()

    @property
    def running(self) -> tuple[Running, ...]:
        """The started services."""
        return tuple(self._running.values())

    def measure(self, service: str, configuration: Configuration, bodies: Sequence[Path], plan: Plan) -> Sample:
        """Put ``service`` under the load of ``configuration``, and wait until it is idle again."""
        pace = self.pace[service, configuration.photos]
        seconds = min(plan.longest, max(plan.seconds, _ROUNDS * configuration.clients * pace))
        running = self._running[service]
        sample = put_under_load(running, _PATH, bodies, configuration.clients, seconds)
        self.pace[service, configuration.photos] = 1 / max(sample.load.per_second, 0.05)
        if not running.tree.wait_until_idle(_SETTLE_SECONDS):
            self._renew(service)
        return sample

    def _renew(self, service: str) -> None:
        """Restart ``service``, which still works on requests whose clients have disconnected."""
        old = self._running[service]
        old.tree.end()
        self._running[service] = start(old.service, self._logs)
        self._running[service].tree.wait_until_idle(_SETTLE_SECONDS)


def put_under_load(running: Running, path: str, bodies: Sequence[Path], clients: int, seconds: float) -> Sample:
    """Let ``clients`` clients send requests for ``seconds``."""
    before = running.tree.cpu_seconds()
    wrk = start_wrk(f"{running.url}{path}", bodies, clients, seconds)
    memory = running.tree.pss_bytes()
    while _works(wrk):
        memory = max(memory, running.tree.pss_bytes())
    cpu = running.tree.cpu_seconds() - before
    load = parse(wrk.communicate()[0])
    return Sample(load, cpu / max(load.answers, 1), memory)


def summarize(samples: dict[tuple[str, Configuration], list[Sample]]) -> tuple[Measurement, ...]:
    """Summarize the repetitions of each service and configuration as medians and spreads."""
    return tuple(_summary(service, load, found) for (service, load), found in samples.items())


def _works(wrk: subprocess.Popen[str]) -> bool:
    try:
        wrk.wait(_MEMORY_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _summary(service: str, configuration: Configuration, samples: list[Sample]) -> Measurement:
    loads = [sample.load for sample in samples]
    return Measurement(
        service,
        configuration.photos,
        configuration.variant,
        configuration.clients,
        per_second=Spread.of(load.per_second for load in loads),
        p50=Spread.of(load.p50 for load in loads),
        p95=Spread.of(load.p95 for load in loads),
        p99=Spread.of(load.p99 for load in loads),
        cpu=Spread.of(sample.cpu for sample in samples),
        memory=max(sample.memory for sample in samples) / 1e6,
        answers=sum(load.answers for load in loads),
        failures=sum(load.refused + load.broken for load in loads),
    )

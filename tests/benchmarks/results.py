"""The results of a benchmark run, stored as JSON."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from tests.benchmarks.statistic import Spread

__all__ = [
    "DecodeFigure",
    "EngineFigure",
    "GrowthPoint",
    "Machine",
    "Measurement",
    "Memory",
    "PhotoFacts",
    "Results",
    "StageFigure",
]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when it was measured; ``memory`` in GB, ``minutes`` for the duration of the run."""

    processor: str
    cores: int
    memory: float
    python: str
    packages: dict[str, str]
    commit: str
    date: str
    quick: bool
    minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """A set of photos; ``kilobytes`` is the mean size of its files."""

    name: str
    width: int
    height: int
    count: int
    kilobytes: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """A service under a load: the repetitions of one configuration.

    ``per_second``: successful answers per second; ``p50``, ``p95``, ``p99``: latency in milliseconds; ``cpu``:
    processor seconds of the server per answer; ``memory``: its highest proportional set size in MB.
    """

    service: str
    photos: str
    variant: str
    clients: int
    per_second: Spread
    p50: Spread
    p95: Spread
    p99: Spread
    cpu: Spread
    memory: float
    answers: int
    failures: int


@dataclass(frozen=True, slots=True)
class EngineFigure:
    """OpenVINO alone with ``network``: images per second with ``streams`` streams and batches of ``batch`` images."""

    network: str
    batch: int
    streams: int
    per_second: Spread


@dataclass(frozen=True, slots=True)
class DecodeFigure:
    """Pillow alone with the JPEG files of a set: milliseconds per file on one core, files per second on all cores."""

    photos: str
    way: str
    milliseconds: Spread
    per_second: Spread


@dataclass(frozen=True, slots=True)
class GrowthPoint:
    """Images per second of our service at one ``size`` of the image, the batch or the network."""

    label: str
    size: float
    per_second: Spread


@dataclass(frozen=True, slots=True)
class StageFigure:
    """Milliseconds of a stage for one image at a time."""

    photos: str
    stage: str
    milliseconds: Spread


@dataclass(frozen=True, slots=True)
class Memory:
    """Proportional set size in ``megabytes`` after each number of ``requests``, in order."""

    requests: tuple[int, ...]
    megabytes: tuple[float, ...]

    def growth(self, warm: int = 2_000) -> float:
        """Return the growth after the first ``warm`` requests, or the first tenth if that is less, as a fraction."""
        warm = min(warm, self.requests[-1] // 10)
        first = next(size for count, size in zip(self.requests, self.megabytes, strict=True) if count >= warm)
        return self.megabytes[-1] / first - 1


@dataclass(frozen=True, slots=True)
class Results:
    """One run; ``startup`` in seconds by service; ``forward`` in milliseconds for one image on one core.

    ``idle`` is the share of one core that all services together used without requests.
    """

    machine: Machine
    photos: tuple[PhotoFacts, ...]
    measurements: tuple[Measurement, ...]
    startup: dict[str, Spread]
    idle: float
    forward: Spread
    engine: tuple[EngineFigure, ...]
    decoding: tuple[DecodeFigure, ...]
    megapixels: tuple[GrowthPoint, ...] = ()
    batches: tuple[GrowthPoint, ...] = ()
    networks: tuple[GrowthPoint, ...] = ()
    stages: tuple[StageFigure, ...] = ()
    soak: Memory | None = field(default=None)

    def find(self, service: str, photos: str, variant: str, clients: int) -> Measurement | None:
        """Return the measurement of a configuration, or ``None`` if it was not measured."""
        asked = (service, photos, variant, clients)
        return next((m for m in self.measurements if (m.service, m.photos, m.variant, m.clients) == asked), None)

    @classmethod
    def read(cls, file: Path) -> "Results":
        """Read a file of :meth:`write`."""
        return TypeAdapter(cls).validate_json(file.read_bytes())

    def write(self, file: Path) -> None:
        """Write everything as JSON."""
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

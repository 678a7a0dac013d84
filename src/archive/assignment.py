"""What is to be done, and by how many workers of which kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from src.archive.duplicates import Claims
from src.archive.output import Run
from src.errors import ArchiveError
from src.runtimes.select import Device
from src.settings import Settings

__all__ = ["Assignment", "Crew"]

_FOR_A_GPU: Final = 2  # threads for each CPU


@dataclass(frozen=True, slots=True)
class Crew:
    """How many workers there are, and the CPUs and GPUs of each."""

    workers: int
    cpus: int
    gpus: int

    @classmethod
    def of(cls, nodes: Sequence[Mapping[str, float]], concurrency: int | None, device: Device) -> Self:
        """Share out ``nodes``, by their resources: a worker for each GPU where ``device`` allows any, or for each CPU.

        Raises:
            ArchiveError: There are none.
        """
        on_gpus = [(node.get("CPU", 0), node["GPU"]) for node in nodes if node.get("GPU", 0) >= 1]
        if device != "cpu" and on_gpus:
            gpus = int(sum(gpus for _, gpus in on_gpus))
            return cls(min(concurrency or gpus, gpus), int(min(cpus // gpus for cpus, gpus in on_gpus)), 1)
        if not (cpus := int(sum(node.get("CPU", 0) for node in nodes))):
            raise ArchiveError("The cluster has no CPUs: start its nodes with some.")
        return cls(min(concurrency or cpus, cpus), 1, 0)

    @property
    def threads(self) -> int:
        """Images that a worker has in work at once: a GPU must not wait for them."""
        return max(1, _FOR_A_GPU * self.cpus) if self.gpus else self.cpus


@dataclass(frozen=True, slots=True)
class Assignment:
    """What every worker is to do; ``files`` are those of the stored model, by name, as Ray keeps them."""

    run: Run
    output: str
    settings: Settings
    files: Any
    crew: Crew
    claims: Claims | None

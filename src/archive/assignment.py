"""What the workers must do, how many there are and with which resources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from src.archive.duplicates import Claims
from src.archive.output import Run
from src.errors import ArchiveError
from src.runtimes.select import Device
from src.settings import Settings

__all__ = ["Assignment", "Crew"]

_FOR_A_GPU: Final = 2  # threads per CPU


@dataclass(frozen=True, slots=True)
class Crew:
    """Number of workers, and the CPUs and GPUs of each."""

    workers: int
    cpus: int
    gpus: int

    @classmethod
    def of(cls, nodes: Sequence[Mapping[str, float]], concurrency: int | None, device: Device) -> Self:
        """Divide the resources of ``nodes`` into a worker per GPU if ``device`` allows GPUs, otherwise one per CPU.

        Raises:
            ArchiveError: The nodes have no CPUs.
        """
        on_gpus = [(node.get("CPU", 0), node["GPU"]) for node in nodes if node.get("GPU", 0) >= 1]
        if device != "cpu" and on_gpus:
            gpus = int(sum(gpus for _, gpus in on_gpus))
            return cls(min(concurrency or gpus, gpus), int(min(cpus // gpus for cpus, gpus in on_gpus)), 1)
        if not (cpus := int(sum(node.get("CPU", 0) for node in nodes))):
            raise ArchiveError("The cluster has no CPUs: start its nodes with at least one.")
        return cls(min(concurrency or cpus, cpus), 1, 0)

    @property
    def threads(self) -> int:
        """Images that a worker prepares in parallel; more than its CPUs on a GPU, which must not wait for them."""
        return max(1, _FOR_A_GPU * self.cpus) if self.gpus else self.cpus


@dataclass(frozen=True, slots=True)
class Assignment:
    """What every worker must do; ``files`` is Ray's reference to the stored model's files, by name."""

    run: Run
    output: str
    settings: Settings
    files: Any
    crew: Crew
    claims: Claims | None

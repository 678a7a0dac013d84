"""Find images with the same bytes: the first to be claimed is recognized, the others refer to it."""

from collections.abc import Iterable

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

__all__ = ["Claims"]


class Claims:
    """Register of the first image with each digest, shared by all workers.

    It is on the node of the command, without which the run ends anyway: on any other it would be lost with that node.
    """

    def __init__(self, known: Iterable[tuple[str, str]]) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        register = ray.remote(_Register).options(num_cpus=0, max_concurrency=1, scheduling_strategy=here)
        self._register = register.remote(dict(known))

    def earlier(self, digest: str, path: str) -> str | None:
        """Return the path of the first image with these bytes, or None if it is ``path``, even when called again."""
        first: str = ray.get(self._register.claim.remote(digest, path))
        return None if first == path else first


class _Register:
    def __init__(self, first: dict[str, str]) -> None:
        self._first = first

    def claim(self, digest: str, path: str) -> str:
        return self._first.setdefault(digest, path)

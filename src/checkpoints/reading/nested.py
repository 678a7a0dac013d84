"""Walk through the hyper-parameters of a checkpoint, nested ones included."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from src.checkpoints.reading.stand_ins import fields, is_module

__all__ = ["walk"]

_MAX_VALUES: Final = 10_000


def walk(*said: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the name and the value of everything in each of ``said``, outer levels first.

    Enters mappings, namespaces and stand-ins, such as the ``init_args`` of LightningCLI, but not networks.
    """
    seen: set[int] = set()
    for content in said:
        waiting: deque[object] = deque([content])
        while waiting and len(seen) < _MAX_VALUES:
            value = waiting.popleft()
            if id(value) in seen or is_module(value):
                continue
            seen.add(id(value))
            for name, held in fields(value).items():
                yield str(name), held
                waiting.append(held)

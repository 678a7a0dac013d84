"""Measure how the cost of our service grows with the size of the image, the batch and the network."""

import base64
from pathlib import Path
from typing import Final

from tests.benchmarks.load import write_bodies
from tests.benchmarks.measure import put_under_load
from tests.benchmarks.photos import PhotoSet, resized_photo
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import say
from tests.benchmarks.results import GrowthPoint
from tests.benchmarks.services import Running, our_service, start
from tests.benchmarks.statistic import Spread
from tests.benchmarks.store import NETWORKS, store_random

__all__ = ["by_batch", "by_megapixels", "by_network"]

_CLIENTS: Final = 4
_SETTLE_SECONDS: Final = 10


def by_megapixels(ours: Running, plan: Plan, folder: Path) -> tuple[GrowthPoint, ...]:
    """Send photos of growing size, heatmap on."""
    points = []
    for size in plan.megapixels:
        bodies = write_bodies(folder / f"{size:g}-megapixels", [{"img": resized_photo(size)}])
        points.append(_point(f"{size:g}", size, _rates(ours, "/image_recognition", bodies, plan)))
    return tuple(points)


def by_batch(ours: Running, photos: PhotoSet, plan: Plan, folder: Path) -> tuple[GrowthPoint, ...]:
    """Send growing batches of ``photos``, heatmap on, from one client that waits for each answer."""
    files = [base64.b64encode(file).decode() for file in photos.files]
    points = []
    for length in plan.batches:
        imgs = [files[index % len(files)] for index in range(length)]
        bodies = write_bodies(folder / f"batch-{length}", [{"imgs": imgs}])
        batches = _rates(ours, "/image_recognition_batch", bodies, plan, clients=1)
        points.append(_point(f"{length}", length, [length * rate for rate in batches]))
    return tuple(points)


def by_network(photos: tuple[Path, ...], plan: Plan, folder: Path) -> tuple[GrowthPoint, ...]:
    """Send the bodies ``photos`` to networks of growing size, heatmap on."""
    points = []
    for architecture in NETWORKS[: plan.networks]:
        network = store_random(architecture, folder)
        running = start(our_service(f"this service, {network.model}", network.model, architecture), folder)
        try:
            running.tree.wait_until_idle(_SETTLE_SECONDS)
            rates = _rates(running, "/image_recognition", photos, plan)
            points.append(_point(architecture.partition("/")[2], round(network.gflop, 2), rates))
        finally:
            running.tree.end()
    return tuple(sorted(points, key=lambda point: point.size))


def _rates(running: Running, path: str, bodies: tuple[Path, ...], plan: Plan, clients: int = _CLIENTS) -> list[float]:
    """Return the answers per second of each repetition; refused requests would make the figure worthless.

    Raises:
        RuntimeError: A request was refused or broken.
    """
    rates = []
    for _ in range(plan.repetitions):
        load = put_under_load(running, path, bodies, clients, plan.seconds).load
        if load.refused or load.broken:
            raise RuntimeError(
                f"{running.service.name} refused {load.refused} and broke {load.broken} requests to {path}."
            )
        rates.append(load.per_second)
    return rates


def _point(label: str, size: float, rates: list[float]) -> GrowthPoint:
    point = GrowthPoint(label, size, Spread.of(rates))
    say(f"growth: {label}: {point.per_second} images/s")
    return point

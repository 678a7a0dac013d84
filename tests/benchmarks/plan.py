"""The configurations to measure in a full run and in a quick run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.benchmarks.photos import HD, HUGE, SMALL
from tests.benchmarks.services import BARE, BARE_ALEXNET, OUR_ALEXNET, OURS

__all__ = ["HEATMAP", "NO_HEATMAP", "PNG", "VARIANTS", "Configuration", "Plan", "full_plan", "quick_plan"]

HEATMAP: Final = "heatmap"
PNG: Final = "heatmap, PNG"
NO_HEATMAP: Final = "no heatmap"
VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {HEATMAP: {}, PNG: {"format": "png"}, NO_HEATMAP: {"gradcam": False}}
"""The options of our request for each variant; the rivals support only the first."""

_OURS: Final = (OURS,)
_WITH_LIMIT: Final = (OURS, BARE)
_RIVALS: Final = ("LitServe + grad-cam", "BentoML, naive", "tutorial, tuned")
_SAME_NETWORK: Final = (*_WITH_LIMIT, *_RIVALS)
_ALL: Final = (
    *_SAME_NETWORK,
    "tutorial",
    OUR_ALEXNET,
    BARE_ALEXNET,
    "tutorial, AlexNet, tuned",
    "tutorial, AlexNet",
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A load, and the services to measure under it, one after the other."""

    photos: str
    variant: str
    clients: int
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How thoroughly to measure.

    ``seconds``: the duration of a load; slow services get up to ``longest``, so that each client gets a few answers.
    ``startups``: how often each service is started. ``megapixels``, ``batches``: the sizes to measure; ``networks``:
    how many networks. ``engine_batches``: batch sizes of the engine alone. ``soak``: the number of requests.
    """

    configurations: tuple[Configuration, ...]
    repetitions: int
    seconds: float
    longest: float
    startups: int
    megapixels: tuple[float, ...]
    batches: tuple[int, ...]
    networks: int
    engine_batches: tuple[int, ...]
    soak: int

    @property
    def photos(self) -> tuple[str, ...]:
        """The photo sets of the configurations."""
        return tuple(dict.fromkeys(configuration.photos for configuration in self.configurations))

    def services(self, photos: str) -> frozenset[str]:
        """Return the names of the services to measure with the set ``photos``."""
        return frozenset(name for each in self.configurations if each.photos == photos for name in each.services)


def full_plan() -> Plan:
    """Return the plan of the published report; it takes about 40 minutes on two cores."""
    return Plan(
        configurations=(
            *(
                Configuration(SMALL, HEATMAP, clients, _ALL if clients in {1, 16} else _SAME_NETWORK)
                for clients in (1, 4, 16, 64)
            ),
            *(Configuration(SMALL, NO_HEATMAP, clients, _WITH_LIMIT) for clients in (1, 16)),
            *(Configuration(SMALL, PNG, clients, _OURS) for clients in (1, 16)),
            *(Configuration(photos, HEATMAP, clients, _SAME_NETWORK) for photos in (HD, HUGE) for clients in (1, 4)),
            *(
                Configuration(photos, v, clients, _OURS)
                for photos in (HD, HUGE)
                for v in (NO_HEATMAP, PNG)
                for clients in (1, 4)
            ),
        ),
        repetitions=3,
        seconds=4,
        longest=12,
        startups=3,
        megapixels=(0.1, 0.5, 1, 2, 4, 12, 24),
        batches=(1, 2, 4, 8, 16, 32, 64),
        networks=6,
        engine_batches=(1, 2, 4, 8),
        soak=20_000,
    )


def quick_plan() -> Plan:
    """Return a plan that measures everything once in about three minutes; its figures are rough."""
    return Plan(
        configurations=(
            Configuration(SMALL, HEATMAP, 1, _SAME_NETWORK),
            Configuration(SMALL, HEATMAP, 16, _ALL),
            Configuration(SMALL, NO_HEATMAP, 16, _WITH_LIMIT),
            Configuration(SMALL, PNG, 16, _OURS),
            Configuration(HUGE, HEATMAP, 1, (*_WITH_LIMIT, "tutorial, tuned")),
            Configuration(HUGE, NO_HEATMAP, 1, _OURS),
        ),
        repetitions=1,
        seconds=2,
        longest=6,
        startups=1,
        megapixels=(1, 4),
        batches=(1, 8),
        networks=1,
        engine_batches=(1, 4),
        soak=300,
    )

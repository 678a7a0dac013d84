"""Measure the limits of the machine between the repetitions of the services."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from torchvision import models

from src.cores import usable_cores
from tests.benchmarks.engine import WAYS, Engine, decode_milliseconds, decoded_per_second
from tests.benchmarks.photos import PhotoSet
from tests.benchmarks.progress import say
from tests.benchmarks.results import DecodeFigure, EngineFigure
from tests.benchmarks.statistic import Spread

__all__ = ["ALEXNET", "BACKBONE", "Limits"]

BACKBONE: Final = "the backbone of EfficientNet-Lite0"
ALEXNET: Final = "all of AlexNet"

_DECODE_SHARE: Final = 0.4  # of the engine's seconds, because decoding times vary less


class Limits:
    """Measures the engine alone for each batch size in ``batches``, and the decoder alone for each of ``photos``."""

    def __init__(self, batches: Sequence[int], photos: Sequence[PhotoSet]) -> None:
        self._engines = {BACKBONE: Engine.of_backbone(), ALEXNET: Engine.convert(models.alexnet(num_classes=2).eval())}
        self._batches = batches
        self._photos = photos
        self._forward: list[float] = []
        self._rates: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
        self._times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._files: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    def measure(self, seconds: float) -> None:
        """Add a repetition of every measurement, about ``seconds`` each."""
        self._forward.append(self._engines[BACKBONE].milliseconds(seconds))
        for name, engine in self._engines.items():
            for batch in self._batches:
                self._rates[name, batch].append(engine.per_second(batch, seconds))
        for photos in self._photos:
            for way in WAYS:
                self._times[photos.name, way].append(decode_milliseconds(photos, way, _DECODE_SHARE * seconds))
                self._files[photos.name, way].append(decoded_per_second(photos, way, _DECODE_SHARE * seconds))
        say(f"engine alone: {self._forward[-1]:.1f} ms for one image on one core")
        for (name, batch), rates in self._rates.items():
            say(f"engine alone: {name}: {rates[-1]:.0f}/s in batches of {batch}")

    def forward(self) -> Spread:
        """Return the milliseconds for one image on one core."""
        return Spread.of(self._forward)

    def engine(self) -> tuple[EngineFigure, ...]:
        """Return the throughput of the engine by batch size."""
        return tuple(EngineFigure(*key, usable_cores(), Spread.of(rates)) for key, rates in self._rates.items())

    def decoding(self) -> tuple[DecodeFigure, ...]:
        """Return the decoding speed by photo set and way."""
        return tuple(
            DecodeFigure(*key, Spread.of(times), Spread.of(self._files[key])) for key, times in self._times.items()
        )

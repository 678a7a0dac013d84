"""Run image files through the whole pipeline, and collect the network's logits and features."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from src.errors import ModelError, RequestError
from src.pipeline import Pipeline

__all__ = ["Observations", "observe"]


@dataclass(frozen=True, slots=True)
class Observations:
    """The network's outputs for the N files that could be decoded.

    ``places`` (N,) are their indices among all the files; ``logits`` (N, C); ``features``, pooled, (N, K);
    ``digests`` are the SHA-256 of the files; ``skipped`` are the files that could not be decoded.
    """

    places: tuple[int, ...]
    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    digests: tuple[bytes, ...]
    skipped: tuple[Path, ...]

    def others(self, learned_from: Collection[bytes]) -> NDArray[np.bool_]:
        """Return for each image, (N,), whether its digest is not among those the network was trained on."""
        return np.array([digest not in learned_from for digest in self.digests], np.bool_)

    @property
    def first(self) -> NDArray[np.bool_]:
        """For each image, (N,), whether it is the first with its digest."""
        chosen = np.zeros(len(self.digests), np.bool_)
        chosen[list({digest: place for place, digest in reversed([*enumerate(self.digests)])}.values())] = True
        return chosen


def observe(pipeline: Pipeline, files: Sequence[Path], source: Path) -> Observations:
    """Run every image of ``files``, which come from ``source``, through ``pipeline``.

    Raises:
        ModelError: None of them can be decoded, or the network returns logits that are not finite.
    """
    places, logits, features, digests, skipped = [], [], [], [], []
    for place, file in enumerate(tqdm(files, unit="image", desc="checking")):
        try:
            data = file.read_bytes()
            evaluation = pipeline.evaluate(data)
        except (RequestError, OSError):
            skipped.append(file)
            continue
        if not np.isfinite(evaluation.logits).all():
            raise ModelError(f"The network returns logits for {file} that are not finite.")
        places.append(place)
        logits.append(evaluation.logits)
        features.append(evaluation.pooled)
        digests.append(hashlib.sha256(data).digest())
    if not places:
        raise ModelError(f"{source} cannot be checked: none of its {len(files)} images can be decoded.")
    return Observations(tuple(places), np.stack(logits), np.stack(features), tuple(digests), tuple(skipped))

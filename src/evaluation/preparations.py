"""Try the usual preparations of images on a sample, in case one suits a model better than its own."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scipy.special import bdtrc
from tqdm import tqdm

from src.errors import Remedy, RequestError
from src.evaluation.accuracy import images
from src.evaluation.multilabel import matching_table
from src.options import Options
from src.pipeline import Pipeline, Recognition
from src.stages.input_spec import InputSpec
from src.store.manifest import Manifest

__all__ = ["Case", "Comparison", "Preparation", "all_cases", "cases", "compare_preparations", "usual_preparations"]

_SAMPLE: Final = 100  # images
_CHANCE: Final = 0.05
_ONLY_LABEL: Final = Options(gradcam=False, top_k=1)
_IMAGENET: Final = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

Case = tuple[Path, Callable[[Recognition], bool]]
"""An image, and a function that returns whether an answer to it is right."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A usual preparation of images, in words, and the options that select it."""

    words: str
    input: InputSpec
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The best of the usual preparations on ``images`` images, and its gain in accuracy in percentage points.

    ``beyond_chance``: whether the gain is statistically significant.
    """

    images: int
    best: Preparation | None
    points: float
    beyond_chance: bool

    def __str__(self) -> str:
        if self.best is None or not self.beyond_chance:
            return f"on {self.images} images, no usual preparation is significantly better than this one"
        return f"on {self.images} images, accuracy is {self.points:.0f} points higher if they are {self.best.words}"


def usual_preparations(spec: InputSpec) -> tuple[Preparation, ...]:
    """Return the usual preparations with the crop size of ``spec``, except ``spec`` itself."""
    height, width = spec.crop
    size = f"{height}x{width}"
    shorter = round(max(spec.crop) * 256 / 224)
    crop = Remedy("crop", size)
    normal: list[tuple[str, dict[str, Any]]] = [
        ("not normalized (mean 0, std 1)", {"mean": (0.0,) * spec.channels, "std": (1.0,) * spec.channels}),
        ("normalized with mean and std 0.5", {"mean": (0.5,) * spec.channels, "std": (0.5,) * spec.channels}),
    ]
    if spec.channels == len(_IMAGENET["mean"]):
        normal.append(("normalized with ImageNet's mean and std", dict(_IMAGENET)))
    resized: list[tuple[str, dict[str, Any], tuple[Remedy, ...]]] = [
        ("stretched", {"resize": spec.crop}, (Remedy("resize", size), crop)),
        (f"resized by their shorter side, to {shorter}", {"resize": shorter}, (Remedy("resize", f"{shorter}"), crop)),
    ]
    valued = [(words, fields, _said(fields)) for words, fields in normal]
    made = (Preparation(words, spec.model_copy(update=fields), said) for words, fields, said in (*resized, *valued))
    return tuple(one for one in made if one.input != spec)


def _said(fields: dict[str, Any]) -> tuple[Remedy, ...]:
    return tuple(Remedy(name, ",".join(f"{value:g}" for value in values)) for name, values in fields.items())


def all_cases(manifest: Manifest, source: Path) -> list[Case]:
    """Return the labeled images of a folder with one folder per class, or of a CSV for a multi-label model."""
    if manifest.output.exclusive:
        return [(file, _is(label)) for label, file in images(source)]
    table = matching_table(source, manifest.labels)
    return [(file, _has(table.labels, marks)) for file, marks in table.rows]


def cases(manifest: Manifest, source: Path) -> list[Case]:
    """Return a seeded sample of at most 100 of :func:`all_cases`."""
    everything = all_cases(manifest, source)
    return random.Random(0).sample(everything, min(_SAMPLE, len(everything)))  # noqa: S311 - not a secret


def _is(label: str) -> Callable[[Recognition], bool]:
    return lambda answer: answer.prediction.top[0].label == label


def _has(labels: tuple[str, ...], marks: tuple[bool, ...]) -> Callable[[Recognition], bool]:
    wanted = {label for label, marked in zip(labels, marks, strict=True) if marked}
    return lambda answer: set(answer.prediction.seen or ()) == wanted


def compare_preparations(
    pipeline_of: Callable[[InputSpec], Pipeline], spec: InputSpec, sample: Sequence[Case]
) -> Comparison:
    """Recognize the images of ``sample`` prepared by ``spec`` and by each of the usual preparations.

    Whether the best of them is significantly better is decided by McNemar's test, exact and one-sided, at 5 % divided
    by the number of preparations. It counts the images that only one of the two recognizes correctly.
    """
    tried = usual_preparations(spec)
    with tqdm(total=len(sample) * (len(tried) + 1), unit="image", desc="trying preparations") as bar:

        def right(preparation: InputSpec) -> list[bool]:
            return _right(pipeline_of(preparation), sample, bar)

        own = right(spec)
        outcomes = [(one, right(one.input)) for one in tried]
    if not sample or not outcomes:
        return Comparison(len(sample), None, 0.0, beyond_chance=False)
    best, found = max(outcomes, key=lambda outcome: sum(outcome[1]))
    gained = sum(now and not before for before, now in zip(own, found, strict=True))
    lost = sum(before and not now for before, now in zip(own, found, strict=True))
    chance = float(bdtrc(gained - 1, gained + lost, 0.5))  # that a fair coin shows heads at least this often
    return Comparison(len(sample), best, 100 * (gained - lost) / len(sample), chance < _CHANCE / len(tried))


def _right(pipeline: Pipeline, sample: Sequence[Case], bar: "tqdm[Any]") -> list[bool]:
    outcomes = []
    for file, is_right in sample:
        bar.update()
        try:
            outcomes.append(is_right(pipeline.recognize(file.read_bytes(), _ONLY_LABEL)))
        except (RequestError, OSError, FloatingPointError):  # the last: its logits are not finite
            outcomes.append(False)
    return outcomes

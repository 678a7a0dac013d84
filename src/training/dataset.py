"""A folder per class -> its photos, decoded once, and their split into a training and a validation part."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from PIL import Image
from tqdm import tqdm

from src.cores import usable_cores
from src.errors import ModelError, RequestError
from src.labelled_folder import class_folders, image_files
from src.stages.decode import DecodeLimits, Enough, decode_image
from src.stages.input_spec import SPARE, InputSpec
from src.stages.picture import Picture

__all__ = ["Dataset", "Photo", "Skipped", "Split", "read_dataset", "split"]

_LIMITS: Final = DecodeLimits()
_LONGEST: Final = 8  # of the longer side over the shorter one; a strip of 10 x 20,000 pixels would take 400 MB
_MIN_CLASSES: Final = 2


@dataclass(frozen=True, slots=True)
class Photo:
    """An upright RGB picture of class ``label``, resized already; equal pictures have equal ``digest``.

    ``digest`` is the SHA-256 of all decoded pixels, so it is the same for files of the same bytes, too. A large
    JPEG file is decoded at half, a quarter or an eighth of its size.
    """

    path: Path
    label: int
    image: Image.Image
    digest: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not a picture, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """The photos of a folder per class; ``labels`` are the names of the folders, sorted."""

    labels: tuple[str, ...]
    photos: tuple[Photo, ...]
    skipped: tuple[Skipped, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all labels, paths and pixels: the same for the same dataset wherever it lies."""
        lines = [f"{self.labels[photo.label]}/{photo.path.name} {photo.digest}" for photo in self.photos]
        return hashlib.sha256("\n".join([*self.labels, *lines]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Split:
    """The photos to learn from, and those to judge by; no picture is in both."""

    training: tuple[Photo, ...]
    validation: tuple[Photo, ...]


def read_dataset(folder: Path, spec: InputSpec) -> Dataset:
    """Read all photos in ``folder``/<class>/, in any depth, and resize them as ``spec`` says, without its crop.

    Hidden files and folders are passed over; files that are no pictures are listed as skipped.

    Raises:
        ModelError: There is no such folder, it has fewer than two classes, or a class has no pictures.
    """
    classes = class_folders(folder)
    if len(classes) < _MIN_CLASSES:
        raise ModelError(
            f"{folder} has {len(classes)} folder{'s' * (len(classes) != 1)} in it: at least two classes are needed,"
            " a folder of photos for each."
        )
    outcomes = _read_all([(file, label) for label, entry in enumerate(classes) for file in image_files(entry)], spec)
    photos = tuple(outcome for outcome in outcomes if isinstance(outcome, Photo))
    if empty := [entry.name for label, entry in enumerate(classes) if label not in {photo.label for photo in photos}]:
        raise ModelError(f"There are no pictures in {folder} for {', '.join(empty)}: add some or remove the folder.")
    skipped = tuple(outcome for outcome in outcomes if isinstance(outcome, Skipped))
    return Dataset(tuple(entry.name for entry in classes), photos, skipped)


def split(dataset: Dataset, fraction: float, seed: int) -> Split:
    """Set ``fraction`` of each class aside for validation, at random by ``seed``; equal pictures stay together.

    Raises:
        ModelError: A class has only one picture, or too few to have one on each side.
    """
    aside: set[str] = set()
    for label, name in enumerate(dataset.labels):
        groups = _groups(dataset.photos, label)
        if len(groups) < _MIN_CLASSES:
            raise ModelError(f"The class {name} needs at least two different pictures: one to learn, one to judge by.")
        random.Random(f"{seed} {name}").shuffle(groups)  # noqa: S311 - nobody must not guess it
        aside.update(_about(groups, fraction))
    return Split(
        tuple(photo for photo in dataset.photos if photo.digest not in aside),
        tuple(photo for photo in dataset.photos if photo.digest in aside),
    )


def _read_all(files: Sequence[tuple[Path, int]], spec: InputSpec) -> list[Photo | Skipped]:
    """Read ``files`` with their labels, in their order; decoders and resizing let other threads run."""
    pool = ThreadPoolExecutor(usable_cores(), "reading")
    try:
        outcomes = pool.map(partial(_read, spec=spec), *zip(*files, strict=True)) if files else ()
        return list(tqdm(outcomes, "reading", len(files), unit=" photos"))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for all of them


def _read(file: Path, label: int, spec: InputSpec) -> Photo | Skipped:
    try:
        picture = decode_image(file.read_bytes(), _LIMITS, Enough(spec.enough, spec.enough))
    except RequestError as exc:
        return Skipped(file, exc.message)
    except OSError as exc:
        return Skipped(file, exc.strerror or str(exc))
    digest = hashlib.sha256(f"{picture.image.size} ".encode() + picture.image.tobytes()).hexdigest()
    return Photo(file, label, picture.srgb(_resized(picture, spec)), digest)


def _resized(picture: Picture, spec: InputSpec) -> Image.Image:
    """Resize as :func:`src.stages.transform.transform` would, which then finds nothing left to resize."""
    gap = SPARE if picture.reduced else None
    rows, columns = spec.resized(picture.width, picture.height)
    if not isinstance(spec.resize, int):
        return picture.image.resize((columns, rows), spec.resampling, reducing_gap=gap)
    size = min(columns, spec.resize * _LONGEST), min(rows, spec.resize * _LONGEST)
    return _middle(picture.image).resize(size, spec.resampling, reducing_gap=gap)


def _middle(image: Image.Image) -> Image.Image:
    """Cut the ends off a picture that is very long: they are never seen."""
    width, height = image.size
    reach = _LONGEST * min(image.size)
    left, top = max(0, (width - reach) // 2), max(0, (height - reach) // 2)
    return image.crop((left, top, left + min(width, reach), top + min(height, reach)))


def _groups(photos: Sequence[Photo], label: int) -> list[list[Photo]]:
    """Group equal pictures; a group that is in several classes counts for that of its first photo."""
    groups: defaultdict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        groups[photo.digest].append(photo)
    return [group for group in groups.values() if group[0].label == label]


def _about(groups: Sequence[Sequence[Photo]], fraction: float) -> Iterator[str]:
    """Yield the digests of the first ``groups`` that together have ``fraction`` of the photos, and never of all."""
    wanted = max(1, round(fraction * sum(map(len, groups))))
    taken = 0
    for group in groups[:-1]:
        if taken >= wanted:
            return
        taken += len(group)
        yield group[0].digest

"""A folder per class -> its images, decoded once, and their split into a training and a validation part."""

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
from src.stages.decoded_image import DecodedImage
from src.stages.input_spec import SPARE, InputSpec

__all__ = ["Dataset", "LabelledImage", "Skipped", "Split", "read_dataset", "split"]

_LIMITS: Final = DecodeLimits()
_LONGEST: Final = 8  # of the longer side over the shorter one; a strip of 10 x 20,000 pixels would take 400 MB
_MIN_CLASSES: Final = 2


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An upright RGB image of class ``label``, resized already; equal images have equal ``digest``.

    ``digest`` is the SHA-256 of all decoded pixels, so it is the same for files of the same bytes, too. A large
    JPEG file is decoded at half, a quarter or an eighth of its size.
    """

    path: Path
    label: int
    raster: Image.Image
    digest: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not an image, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """The images of a folder per class; ``labels`` are the names of the folders, sorted."""

    labels: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    skipped: tuple[Skipped, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all labels, paths and pixels: the same for the same dataset wherever it lies."""
        lines = [f"{self.labels[image.label]}/{image.path.name} {image.digest}" for image in self.images]
        return hashlib.sha256("\n".join([*self.labels, *lines]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Split:
    """The images to learn from, and those to judge by; no image is in both."""

    training: tuple[LabelledImage, ...]
    validation: tuple[LabelledImage, ...]


def read_dataset(folder: Path, spec: InputSpec) -> Dataset:
    """Read all images in ``folder``/<class>/, in any depth, and resize them as ``spec`` says, without its crop.

    Hidden files and folders are passed over; files that are no images are listed as skipped.

    Raises:
        ModelError: There is no such folder, it has fewer than two classes, or a class has no images.
    """
    classes = class_folders(folder)
    if len(classes) < _MIN_CLASSES:
        raise ModelError(
            f"{folder} has {len(classes)} folder{'s' * (len(classes) != 1)} in it: at least two classes are needed,"
            " a folder of images for each."
        )
    outcomes = _read_all([(file, label) for label, entry in enumerate(classes) for file in image_files(entry)], spec)
    images = tuple(outcome for outcome in outcomes if isinstance(outcome, LabelledImage))
    if empty := [entry.name for label, entry in enumerate(classes) if label not in {image.label for image in images}]:
        raise ModelError(f"There are no images in {folder} for {', '.join(empty)}: add some or remove the folder.")
    skipped = tuple(outcome for outcome in outcomes if isinstance(outcome, Skipped))
    return Dataset(tuple(entry.name for entry in classes), images, skipped)


def split(dataset: Dataset, fraction: float, seed: int) -> Split:
    """Set ``fraction`` of each class aside for validation, at random by ``seed``; equal images stay together.

    Raises:
        ModelError: A class has only one image, or too few to have one on each side.
    """
    aside: set[str] = set()
    for label, name in enumerate(dataset.labels):
        groups = _groups(dataset.images, label)
        if len(groups) < _MIN_CLASSES:
            raise ModelError(f"The class {name} needs at least two different images: one to learn, one to judge by.")
        random.Random(f"{seed} {name}").shuffle(groups)  # noqa: S311 - nobody must not guess it
        aside.update(_about(groups, fraction))
    return Split(
        tuple(image for image in dataset.images if image.digest not in aside),
        tuple(image for image in dataset.images if image.digest in aside),
    )


def _read_all(files: Sequence[tuple[Path, int]], spec: InputSpec) -> list[LabelledImage | Skipped]:
    """Read ``files`` with their labels, in their order; decoders and resizing let other threads run."""
    pool = ThreadPoolExecutor(usable_cores(), "reading")
    try:
        outcomes = pool.map(partial(_read, spec=spec), *zip(*files, strict=True)) if files else ()
        return list(tqdm(outcomes, "reading", len(files), unit=" images"))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for all of them


def _read(file: Path, label: int, spec: InputSpec) -> LabelledImage | Skipped:
    try:
        image = decode_image(file.read_bytes(), _LIMITS, Enough(spec.enough, spec.enough))
    except RequestError as exc:
        return Skipped(file, exc.message)
    except OSError as exc:
        return Skipped(file, exc.strerror or str(exc))
    digest = hashlib.sha256(f"{image.raster.size} ".encode() + image.raster.tobytes()).hexdigest()
    return LabelledImage(file, label, image.srgb(_resized(image, spec)), digest)


def _resized(image: DecodedImage, spec: InputSpec) -> Image.Image:
    """Resize as :func:`src.stages.transform.transform` would, which then finds nothing left to resize."""
    gap = SPARE if image.reduced else None
    rows, columns = spec.resized(image.width, image.height)
    if not isinstance(spec.resize, int):
        return image.raster.resize((columns, rows), spec.resampling, reducing_gap=gap)
    size = min(columns, spec.resize * _LONGEST), min(rows, spec.resize * _LONGEST)
    return _middle(image.raster).resize(size, spec.resampling, reducing_gap=gap)


def _middle(image: Image.Image) -> Image.Image:
    """Cut the ends off an image that is very long: they are never seen."""
    width, height = image.size
    reach = _LONGEST * min(image.size)
    left, top = max(0, (width - reach) // 2), max(0, (height - reach) // 2)
    return image.crop((left, top, left + min(width, reach), top + min(height, reach)))


def _groups(images: Sequence[LabelledImage], label: int) -> list[list[LabelledImage]]:
    """Group equal images; a group that is in several classes counts for that of its first image."""
    groups: defaultdict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        groups[image.digest].append(image)
    return [group for group in groups.values() if group[0].label == label]


def _about(groups: Sequence[Sequence[LabelledImage]], fraction: float) -> Iterator[str]:
    """Yield the digests of the first ``groups`` that together have ``fraction`` of the images, and never of all."""
    wanted = max(1, round(fraction * sum(map(len, groups))))
    taken = 0
    for group in groups[:-1]:
        if taken >= wanted:
            return
        taken += len(group)
        yield group[0].digest

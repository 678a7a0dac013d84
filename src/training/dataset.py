"""Read labeled images from a folder per class or a CSV of labels, and split them into training and validation."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from PIL import Image
from tqdm import tqdm

from src.cores import usable_cores
from src.errors import ModelError, RequestError
from src.labeled_folder import class_folders, image_files, read_table
from src.stages.decode import DecodeLimits, Enough, decode_image
from src.stages.decoded_image import DecodedImage
from src.stages.input_spec import SPARE, InputSpec
from src.stages.output_spec import OutputKind
from src.stages.resize import is_fast, resize

__all__ = ["Dataset", "Label", "LabeledImage", "Skipped", "Split", "read_dataset", "split"]

_LIMITS: Final = DecodeLimits()
_LONGEST: Final = 8  # longer side over shorter side; otherwise a strip of 10 x 20,000 pixels would take 400 MB
_MIN_CLASSES: Final = 2
_PARTS: Final = {"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"}


Label = int | tuple[float, ...]
"""The index of a class or, if an image may belong to several, a 1 or 0 for each class."""


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """An upright image, RGB or gray, already resized; equal images have equal ``digest``.

    ``digest`` is the SHA-256 of all decoded pixels, so identical files have the same one, too. Large JPEG files are
    decoded at half, a quarter or an eighth of their size. ``file_digest`` is the SHA-256 of the file.
    """

    path: Path
    label: Label
    raster: Image.Image
    digest: str
    file_digest: bytes


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that cannot be read as an image, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labeled images; ``labels`` are the names of the folders, sorted, or of the CSV's columns."""

    labels: tuple[str, ...]
    images: tuple[LabeledImage, ...]
    skipped: tuple[Skipped, ...]
    output: OutputKind = "softmax"

    def count(self, label: int) -> int:
        """Return how many images belong to the class with the index ``label``."""
        return sum(bool(of[label]) if isinstance(of := image.label, tuple) else of == label for image in self.images)

    @property
    def alike(self) -> list[str]:
        """Names of the classes that either all or none of the images belong to, which therefore cannot be learned."""
        return [name for label, name in enumerate(self.labels) if self.count(label) in {0, len(self.images)}]

    @property
    def digest(self) -> str:
        """SHA-256 of all labels, file names and pixels, which does not change when the dataset is moved."""
        lines = [f"{self._named(image.label)}/{image.path.name} {image.digest}" for image in self.images]
        names = "\n".join([*self.labels, *lines])
        return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()  # not every file name is UTF-8

    def _named(self, label: Label) -> str:
        return self.labels[label] if isinstance(label, int) else "".join(f"{mark:g}" for mark in label)


@dataclass(frozen=True, slots=True)
class Split:
    """The images to train on and those to validate on; no image is in both."""

    training: tuple[LabeledImage, ...]
    validation: tuple[LabeledImage, ...]


def read_dataset(source: Path, spec: InputSpec) -> Dataset:
    """Read the images of a folder per class, at any depth, or of a CSV, and resize them by ``spec``, uncropped.

    Hidden files and folders are ignored; files that cannot be read as images are listed as skipped.

    Raises:
        ModelError: The folder or CSV does not exist, it has too few classes, its folders are parts of a dataset instead
            of classes, or a class has no images.
    """
    return _read_table(source, spec) if source.is_file() else _read_folder(source, spec)


def _read_table(file: Path, spec: InputSpec) -> Dataset:
    table = read_table(file)
    if len(table.labels) < _MIN_CLASSES:
        raise ModelError(
            f"{file} has a single class, {table.labels[0]}: add another one, or put the images with and without it into"
            " two folders, and name the folder with these."
        )
    images, skipped = _read_all([(path, tuple(map(float, marks))) for path, marks in table.rows], spec)
    dataset = Dataset(table.labels, images, skipped, "multilabel")
    if dataset.alike:
        raise ModelError(
            f"In {file}, either all or no images are labeled {', '.join(dataset.alike)}: add images or remove it."
            f"{_unreadable(skipped)}"
        )
    return dataset


def _unreadable(skipped: Sequence[Skipped]) -> str:
    """Return a sentence about the files that are not images, if there are any: they may all be of another format."""
    return f" {len(skipped)} could not be read; {skipped[0].path}: {skipped[0].reason}" if skipped else ""


def _read_folder(folder: Path, spec: InputSpec) -> Dataset:
    classes = class_folders(folder)
    if len(classes) < _MIN_CLASSES:
        raise ModelError(
            f"{folder} contains {len(classes)} folder{'s' * (len(classes) != 1)}: at least two classes are needed,"
            " with a folder of images for each."
        )
    if {entry.name.lower() for entry in classes} <= _PARTS:
        raise ModelError(
            f"{folder} contains {' and '.join(entry.name for entry in classes)}, which are parts of a dataset, not"
            " classes: name the folder of the part to train on."
        )
    if odd := [entry for entry in classes if entry.name != entry.name.encode(errors="replace").decode()]:
        raise ModelError(f"The name of the folder {odd[0]}, a class, is not UTF-8: rename it.")
    files = [(file, label) for label, entry in enumerate(classes) for file in image_files(entry)]
    images, skipped = _read_all(files, spec)
    there = {image.label for image in images}
    if empty := [entry for label, entry in enumerate(classes) if label not in there]:
        raise ModelError(
            f"There are no images in {folder} for {', '.join(entry.name for entry in empty)}: add some or remove the"
            f" folder.{_unreadable([one for one in skipped if any(entry in one.path.parents for entry in empty)])}"
        )
    return Dataset(tuple(entry.name for entry in classes), images, skipped)


def split(dataset: Dataset, fraction: float, seed: int) -> Split:
    """Set ``fraction`` of each class aside for validation, at random by ``seed``; equal images stay together.

    If images may belong to several classes, it is a fraction of all images. Equal images of several classes count for
    the class of the first of them.

    Raises:
        ModelError: A class has fewer than two different images, one for each side; or, if images may belong to several
            classes, all or none of those to train on belong to a class.
    """
    aside: set[str] = set()
    classes = dict(enumerate(dataset.labels)) if dataset.output == "softmax" else {None: "of all labels"}
    equal: defaultdict[str, list[LabeledImage]] = defaultdict(list)
    for image in dataset.images:
        equal[image.digest].append(image)
    for label, name in classes.items():
        groups = [group for group in equal.values() if label is None or group[0].label == label]
        if len(groups) < _MIN_CLASSES:
            who = "A table" if label is None else f"The class {name}"
            raise ModelError(f"{who} needs at least two different images: one to train on, one to validate.")
        random.Random(f"{seed} {name}").shuffle(groups)  # noqa: S311 - it need not be secret
        aside.update(_about(groups, fraction))
    training = tuple(image for image in dataset.images if image.digest not in aside)
    if dataset.output == "multilabel" and (alike := replace(dataset, images=training).alike):
        raise ModelError(
            f"Either all or none of the images to train on are labeled {', '.join(alike)}: add images, or split them"
            " differently with another --seed."
        )
    return Split(training, tuple(image for image in dataset.images if image.digest in aside))


def _read_all(
    files: Sequence[tuple[Path, Label]], spec: InputSpec
) -> tuple[tuple[LabeledImage, ...], tuple[Skipped, ...]]:
    """Read ``files`` with their labels, in order, by threads: decoding and resizing release the GIL."""
    pool = ThreadPoolExecutor(usable_cores(), "reading")
    try:
        coming = pool.map(partial(_read, spec=spec), *zip(*files, strict=True)) if files else ()
        outcomes = list(tqdm(coming, "reading", len(files), unit=" images"))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for all of them
    images = tuple(outcome for outcome in outcomes if isinstance(outcome, LabeledImage))
    return images, tuple(outcome for outcome in outcomes if isinstance(outcome, Skipped))


def _read(file: Path, label: Label, spec: InputSpec) -> LabeledImage | Skipped:
    try:
        data = file.read_bytes()
        image = decode_image(data, _LIMITS, Enough(spec.enough, spec.enough))
    except RequestError as exc:
        return Skipped(file, exc.message)
    except OSError as exc:
        return Skipped(file, exc.strerror or str(exc))
    digest = hashlib.sha256(f"{image.raster.size} ".encode() + image.raster.tobytes()).hexdigest()
    if spec.channels == 1:
        image = replace(image, raster=image.srgb(image.raster).convert("L"), conversion=None)
    return LabeledImage(file, label, image.srgb(_resized(image, spec)), digest, hashlib.sha256(data).digest())


def _resized(image: DecodedImage, spec: InputSpec) -> Image.Image:
    """Resize as :func:`src.stages.transform.transform` would, so that it has nothing left to resize."""
    rows, columns = spec.resized(image.width, image.height)
    size, seen = (columns, rows), image.raster
    if isinstance(spec.resize, int):
        size, seen = (min(columns, spec.resize * _LONGEST), min(rows, spec.resize * _LONGEST)), _middle(image.raster)
    if is_fast(image.raster, spec.resampling):
        return resize(seen, size, spec.resampling)
    return seen.resize(size, spec.resampling, reducing_gap=SPARE if image.reduced else None)


def _middle(image: Image.Image) -> Image.Image:
    """Cut off the ends of a very long image, which the network never sees."""
    width, height = image.size
    reach = _LONGEST * min(image.size)
    left, top = max(0, (width - reach) // 2), max(0, (height - reach) // 2)
    return image.crop((left, top, left + min(width, reach), top + min(height, reach)))


def _about(groups: Sequence[Sequence[LabeledImage]], fraction: float) -> Iterator[str]:
    """Yield the digests of the first ``groups`` that together have ``fraction`` of the images, but never all groups."""
    wanted = max(1, round(fraction * sum(map(len, groups))))
    taken = 0
    for group in groups[:-1]:
        if taken >= wanted:
            return
        taken += len(group)
        yield group[0].digest

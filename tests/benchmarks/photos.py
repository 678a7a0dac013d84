"""The photos of the benchmark: three sizes, made from the photos in scikit-image and scikit-learn."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray
from PIL import Image, ImageOps

from src.stages.decode.cicp import profile_of
from tests.files import saved
from tests.places import PACKAGED_PHOTOS

__all__ = ["HD", "HUGE", "SMALL", "PhotoSet", "in_display_p3", "make_photos", "resized_photo"]

SMALL: Final = "small"
HD: Final = "1920x1280"
HUGE: Final = "12 megapixels"

_SOURCES: Final = (
    *PACKAGED_PHOTOS,
    *(Path(sklearn.datasets.__file__).parent / "images" / name for name in ("china.jpg", "flower.jpg")),
)
_P3, _SRGB_TRANSFER = 12, 13  # their numbers in H.273
_SMALL_BYTES: Final = 12_000
_QUALITY: Final = 90
_DETAIL: Final = 0.4  # of the local contrast, in each octave: a camera's detail, finer than the source's pixels
_OCTAVES: Final = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """JPEG files of ``width`` x ``height`` pixels."""

    name: str
    width: int
    height: int
    files: tuple[bytes, ...]

    @property
    def mean_kilobytes(self) -> float:
        """Mean size of a file in kB."""
        return sum(map(len, self.files)) / len(self.files) / 1000


def make_photos(name: str) -> PhotoSet:
    """Make the photos of the set ``name``, ``SMALL``, ``HD`` or ``HUGE``, with the same bytes in every run."""
    if name == SMALL:
        return _photo_set(name, (451, 300), len(_SOURCES), _of_small_file)
    if name == HD:
        return _photo_set(name, (1920, 1280), len(_SOURCES), _of_camera)
    return _photo_set(name, (4000, 3000), 3, _of_camera)


def resized_photo(megapixels: float) -> bytes:
    """Return one 4:3 photo of ``megapixels`` as a JPEG file like a camera's."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    return _of_camera(_resized(_SOURCES[0], (width, round(width * 3 / 4))))


def in_display_p3(photos: PhotoSet) -> PhotoSet:
    """Return the same files with a Display P3 profile, so that their colors must be converted."""
    return replace(photos, name=f"{photos.name}, Display P3", files=tuple(map(_in_display_p3, photos.files)))


def _in_display_p3(file: bytes) -> bytes:
    """Insert the profile after the first marker of a JPEG file, without changing its pixels."""
    segment = b"ICC_PROFILE\0\1\1" + (profile_of(_P3, _SRGB_TRANSFER) or b"")
    return file[:2] + b"\xff\xe2" + (len(segment) + 2).to_bytes(2, "big") + segment + file[2:]


def _photo_set(name: str, size: tuple[int, int], count: int, encode: Callable[[Image.Image], bytes]) -> PhotoSet:
    return PhotoSet(name, *size, tuple(encode(_resized(source, size)) for source in _SOURCES[:count]))


def _resized(source: Path, size: tuple[int, int]) -> Image.Image:
    with Image.open(source) as image:
        return ImageOps.fit(image.convert("RGB"), size, Image.Resampling.LANCZOS)


def _of_small_file(image: Image.Image) -> bytes:
    """Return ``image`` as the JPEG file closest in size to small photos on the web."""
    files = (saved(image, "JPEG", quality=quality) for quality in range(10, 96, 2))
    return min(files, key=lambda file: abs(len(file) - _SMALL_BYTES))


def _of_camera(image: Image.Image) -> bytes:
    return saved(_detailed(image), "JPEG", quality=_QUALITY)


def _detailed(image: Image.Image) -> Image.Image:
    """Return ``image`` with pixel-fine noise, in proportion to the local contrast.

    An enlarged photo is smooth, so its JPEG file would be smaller and decode faster than a camera's.
    """
    rng = np.random.default_rng(0)
    pixels = np.asarray(image, dtype=np.float32)
    noise = sum((_noise(rng, image.size, octave) for octave in _OCTAVES), start=np.zeros(pixels.shape[:2], np.float32))
    pixels = pixels + _DETAIL * (_contrast(image) * noise)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _noise(rng: np.random.Generator, size: tuple[int, int], octave: int) -> NDArray[np.float32]:
    coarse = rng.standard_normal((size[1] // octave + 1, size[0] // octave + 1), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR))


def _contrast(image: Image.Image) -> NDArray[np.float32]:
    """Return the standard deviation of the brightness around each pixel."""
    gray = image.convert("L").convert("F")
    coarse = (image.width // 16, image.height // 16)
    mean = np.asarray(gray.resize(coarse, Image.Resampling.BOX))
    square = np.asarray(Image.fromarray(np.square(np.asarray(gray))).resize(coarse, Image.Resampling.BOX))
    deviation = np.sqrt(np.maximum(square - np.square(mean), 4)).astype(np.float32)
    return np.asarray(Image.fromarray(deviation).resize(image.size, Image.Resampling.BILINEAR))

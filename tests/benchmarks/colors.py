"""Count answers that stay the same in other color spaces: ``python -m tests.benchmarks.colors FOLDER``.

FOLDER has one folder of photos per class. Each photo is recognized in sRGB; in another space with its profile, as
cameras write it; and in the same file without the profile, as seen by a decoder that ignores profiles.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from src.errors import RequestError
from src.labeled_folder import class_folders, image_files
from src.options import Options
from src.pipeline import Pipeline
from src.runtimes.select import start
from src.stages.decode import DecodeLimits, decode_image
from src.stages.decode.cicp import profile_of
from tests.benchmarks.stored import stored_for
from tests.files import saved

_SPACES = {"Display P3": (12, 13), "BT.2020": (9, 13)}  # primaries and transfer, by their numbers in H.273
_OPTIONS = Options(gradcam=False, top_k=1)
_LIMITS = DecodeLimits()
_CHROMATICITIES = {
    "sRGB": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "Display P3": ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    "BT.2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
}


def main() -> None:
    """Print, for each space, how many answers are the same as in sRGB."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.colors", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=400, help="how many, equally from each class (default: 400)")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint of the model (default: the default network)")
    options = parser.parse_args()
    pipeline = make_pipeline(options.checkpoint)
    photos = list(_photos(options.folder, options.photos))
    expected = [_answer(pipeline, make_file(photo)) for photo in tqdm(photos, "sRGB", unit=" photos")]
    for space, numbers in _SPACES.items():
        profile = profile_of(*numbers)
        files = [_in_space(photo, space) for photo in photos]
        for what, profiles in (("with its profile", profile), ("without", None)):
            found = [_answer(pipeline, make_file(file, profiles)) for file in tqdm(files, space, unit=" photos")]
            same = sum(one == other for one, other in zip(found, expected, strict=True))
            print(f"{space} {what}: the same class as in sRGB for {same} of {len(photos)} ({same / len(photos):.1%})")


def _photos(folder: Path, count: int) -> Iterator[Image.Image]:
    """Yield photos, the same number for each class, no larger than the network needs."""
    classes = class_folders(folder)
    for label in classes:
        yield from islice(_decoded(label), count // len(classes))


def _decoded(label: Path) -> Iterator[Image.Image]:
    for file in image_files(label):
        try:
            decoded = decode_image(file.read_bytes(), _LIMITS)
        except RequestError:
            continue
        image = decoded.srgb(decoded.raster)
        image.thumbnail((512, 512))
        yield image


def _in_space(photo: Image.Image, space: str) -> Image.Image:
    """Convert the photo to another space, with the transfer function of sRGB."""
    values = np.asarray(photo) / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    light = np.clip(light @ (np.linalg.inv(_to_xyz(space)) @ _to_xyz("sRGB")).T, 0, 1)
    coded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return Image.fromarray(np.rint(coded * 255).astype(np.uint8))


def _to_xyz(space: str) -> NDArray[np.float64]:
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _CHROMATICITIES[space]]).T
    return columns * np.linalg.solve(columns, np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290]))


def make_file(photo: Image.Image, profile: bytes | None = None) -> bytes:
    """Return the photo as a PNG file, with the ``profile`` if given."""
    return saved(photo, "PNG", compress_level=1, **({"icc_profile": profile} if profile else {}))


def _answer(pipeline: Pipeline, file: bytes) -> int:
    return pipeline.recognize(file, _OPTIONS).prediction.top[0].index


def make_pipeline(checkpoint: Path | None) -> Pipeline:
    """Store the model, and start it."""
    stored = stored_for("colors", checkpoint)
    return Pipeline(stored.manifest, start(stored.folder, stored.manifest, threads=2, device="cpu"), _LIMITS)


if __name__ == "__main__":
    main()

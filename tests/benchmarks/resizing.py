"""Measure what SIMD resizing changes: ``python -m tests.benchmarks.resizing FOLDER``, with photos at any depth.

Random crops of the photos, enlarged to between 1 and 4 megapixels, are recognized with RESIZE=fast and RESIZE=exact.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from src.labeled_folder import image_files
from src.options import Options
from src.stages.decode import DecodeLimits, decode_image
from src.stages.decoded_image import DecodedImage
from src.stages.transform import transform
from tests.benchmarks.colors import make_file, make_pipeline

_LIKELIEST = Options(gradcam=False, top_k=1)


def main() -> None:
    """Print how much levels and probabilities differ, and how many answers stay the same."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.resizing", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=256, help="number of crops (default: 256)")
    options = parser.parse_args()
    fast, rng = make_pipeline(None), np.random.default_rng(0)
    pipelines = fast, replace(fast, exact=True)
    files = list(image_files(options.folder))
    off, apart, same = [], [], 0
    for index in tqdm(range(options.photos), unit=" photos"):
        photo = _part(files[index % len(files)], rng)
        image = DecodedImage(photo, *photo.size)
        seen = [transform(image, fast.manifest.input, exact=one.exact).pixels.astype(int) for one in pipelines]
        off.append(np.abs(seen[0] - seen[1]))
        top = [one.recognize(make_file(photo), _LIKELIEST).prediction.top[0] for one in pipelines]
        same += top[0].index == top[1].index
        apart.append(abs(top[0].percent - top[1].percent) / 100)
    changed = np.mean([values > 0 for values in off])
    print(f"{np.max(off)} levels at most; {changed:.2%} of the values differ")
    print(f"{same} of {len(apart)} get the same class")
    print(f"its probability differs by {np.median(apart):.1g} in the median, {max(apart):.1g} at most")


def _part(file: Path, rng: np.random.Generator) -> Image.Image:
    image = decode_image(file.read_bytes(), DecodeLimits())
    photo = image.srgb(image.raster)
    share = rng.uniform(0.6, 1)
    width, height = int(photo.width * share), int(photo.height * share)
    left, top = int(rng.integers(0, photo.width - width + 1)), int(rng.integers(0, photo.height - height + 1))
    scale = (rng.uniform(1.05e6, 4e6) / (width * height)) ** 0.5
    part = photo.crop((left, top, left + width, top + height))
    return part.resize((round(width * scale) + 1, round(height * scale) + 1), Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()

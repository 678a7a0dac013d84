"""Measure how often the heat of a class lies on its own half of an image composed of two, for each method.

    python -m tests.benchmarks.pointing FOLDER [--checkpoint FILE]

FOLDER has images named after their class (``rock_crab.jpg``) or one folder of images per class.
"""

import argparse
import sys
from pathlib import Path

from src.evaluation.pointing import Known, play
from src.pipeline import Pipeline
from src.runtimes.select import start
from src.stages.decode import DecodeLimits
from tests.benchmarks.stored import stored_for


def _known(pipeline: Pipeline, folder: Path) -> tuple[list[Known], int]:
    """Return the images in ``folder`` that the model recognizes correctly, and the number of all images."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    known = []
    for file in files:
        pixels = pipeline.pixels(file.read_bytes())
        index = int(pipeline.runtime.evaluate(pixels).logits.argmax())
        wanted = {_plain(file.stem), _plain(file.parent.name)}
        if _plain(pipeline.manifest.labels[index]) in wanted:
            known.append(Known(pixels, index))
    return known, len(files)


def _plain(name: str) -> str:
    return name.replace("_", " ").lower()


def main() -> None:
    """Play the pointing game and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="checkpoint of the model (default: the default network)")
    options = parser.parse_args()
    stored = stored_for("pointing", options.checkpoint)
    pipeline = Pipeline(stored.manifest, start(stored.folder, stored.manifest, threads=1), DecodeLimits())
    known, images = _known(pipeline, options.folder)
    found = play(pipeline, known)
    if not found:
        sys.exit(f"{options.folder} has no correctly recognized images of two classes.")
    lines = [f"{len(known)} of {images} images are recognized; {next(iter(found.values())).heats} heatmaps", ""]
    lines += ["| method | maximum on its own half | heat on its own half |", "|---|---|---|"]
    lines += [f"| `{method}` | {one.hits:.1%} | {one.energy:.1%} |" for method, one in found.items()]
    print("\n".join(lines))


if __name__ == "__main__":
    main()

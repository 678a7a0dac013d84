"""The options of the training command."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["parser"]

_LARGEST_SEED: Final = 2**32 - 1  # of NumPy


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser; omitted options are None, and completed later."""
    options = argparse.ArgumentParser(
        prog="python -m src.train",
        description=description,
        epilog="Then store the model with 'python save_model.py OUT/best.ckpt' and serve it.",
    )
    add = options.add_argument
    add("folder", metavar="FOLDER", type=Path, help="folder with a folder of images for each class; or, if images may"
        " belong to several classes, a CSV (image,<class>,...; then a file and a 0 or 1 for each class)")  # fmt: skip
    add("--arch", metavar="NAME", help="torchvision/<name> or timm/<name> (default: timm/tf_efficientnet_lite0);"
        " its published weights are downloaded unless they are in the library's cache")  # fmt: skip
    add("--from-scratch", action="store_true", help="start from random weights: needs many images and epochs")
    add("--channels", type=int, choices=[1, 3], help="1: learn from gray images (default: 3)")
    add("--epochs", type=_whole(1), help="passes over the images (default: 2, more for few images)")
    add("--batch-size", type=_whole(2), help="images per step (default: 32, fewer for few images)")
    add("--seed", type=_whole(0, _LARGEST_SEED), help="random seed of the split and the training (default: 0)")
    add("--validation", metavar="FRACTION", type=_fraction,
        help="share of the images to validate on, never trained on (default: 0.15)")  # fmt: skip
    add("--resume", metavar="LAST.ckpt", type=Path, help="resume from the last.ckpt of an earlier run")
    add("--out", metavar="FOLDER", type=Path, help="where to write (default: runs/<name of FOLDER>)")
    return options


def _whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    values = f"of at least {least}" if most == math.inf else f"from {least} to {most}"

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number {values}, not {text!r}")
        return int(text)

    return number


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, such as 0.15, not {text!r}")
    return value

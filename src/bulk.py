"""Recognize all images of an archive, on this machine or on a Ray cluster, and write the results as Parquet."""

import argparse
import csv
import os
import sys
from importlib.util import find_spec
from typing import Final

from src.errors import ArchiveError, ModelError, RequestError, described
from src.settings import read_settings

# Both are read only when the packages are imported.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

_EXIT_FAILED: Final = 2
_EXIT_INTERRUPTED: Final = 130
_EXIT_CODES: Final = (
    "Exit code: 0 if every image has a row, which may be an error; 2 if the run cannot start or continue; 130 if it was"
    " stopped. docs/guides/million-images.md describes the rows, and runs on a cluster."
)
_EXTRA: Final = ("ray", "pyarrow", "fsspec", "matplotlib", "tqdm")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 2 if it cannot start or continue, 130 if it was stopped."""
    options = _options(arguments)
    if missing := [name for name in _EXTRA if find_spec(name) is None]:
        return _failed(f"{', '.join(missing)} must be installed first: make bulk, or pip install '.[bulk]'")
    print(f"bulk: listing {options.input} ...", file=sys.stderr)  # both the import and this may take long
    try:
        from src.archive.job import Order, carry_out  # noqa: PLC0415 - slow, and not needed for --help

        summary = carry_out(Order(**vars(options)), read_settings())
    except (ArchiveError, ModelError, RequestError) as exc:
        return _failed(str(exc))
    except OSError as exc:  # the output, or the store that it is in
        return _failed(f"{described(exc)}. Run the same command again to continue.")
    except KeyboardInterrupt:
        _failed("stopped; run the same command again to continue.")
        return _EXIT_INTERRUPTED
    print(f"{summary.text()}\nwritten       {options.output}")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest:  # of a pattern that the shell has expanded there may be thousands
        shown = f"{rest[0]}, ... (in quotes, as in 'photos/*.jpg', a pattern is one argument)" if rest[1:] else rest[0]
        parser.error(f"unrecognized arguments: {shown}")
    if not (options.input and options.output):  # such as variables that are not set: "" is the current folder
        parser.error("INPUT and OUTPUT must not be empty")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m src.bulk", description=__doc__, epilog=_EXIT_CODES)
    add = parser.add_argument
    add("input", metavar="INPUT", help="folder, pattern, list (.txt), tar or Parquet file; local, or s3://, gs://, ...")
    add("output", metavar="OUTPUT", help="folder of the Parquet files; run the same command again to continue")
    add("--heatmaps", action="store_true", help="add the heatmap of every listed class, as numbers")
    add("--heatmap-files", action="store_true", help="write each image with its heatmap to OUTPUT/_heatmaps")
    classes = "classes to report for all images, by label or index; a label with commas in double quotes"
    add("--targets", type=_split, default=(), metavar="A,B", help=classes)
    add("--model", metavar="TAG", help="model in the model store (default: IMAGE_RECOGNITION_MODEL)")
    add("--deduplicate", action="store_true", help="recognize only the first of several images with the same bytes")
    add("--retry", action="store_true", help="process again what could not be read, was too large or failed internally")
    add("--concurrency", type=_positive, metavar="N", help="number of workers (default: one for each CPU, or each GPU)")
    add("--ray", metavar="ADDRESS", help="address of a Ray cluster (default: this machine alone)")
    return parser


def _split(text: str) -> tuple[str, ...]:
    """Return the names in ``text``; those of ImageNet often have commas, and are then in double quotes."""
    names = [name.strip() for row in csv.reader([text], skipinitialspace=True) for name in row]
    return tuple(filter(None, names))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def _failed(message: str) -> int:
    print(f"bulk: {message}", file=sys.stderr)
    return _EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())

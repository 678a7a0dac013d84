#!/usr/bin/env python3
"""Put a trained classifier into the BentoML model store, verified and ready to serve."""

# Torch takes seconds to import and --help, --if-missing and mistakes must not wait for it.
# ruff: noqa: PLC0415

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # bentoml reads it once, when it is imported

import bentoml
from bentoml.exceptions import NotFound

from src.errors import ModelError

if TYPE_CHECKING:
    from src.model.bundle import Saved

_EXIT_REFUSED: Final = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 where the model cannot be stored."""
    options = _parser().parse_args(arguments)
    if options.if_missing and _is_stored(options.name):
        print(f"{options.name} is in the model store already.")
        return 0
    print("Reading, verifying and storing the default network ...", flush=True)
    try:
        from src.model import bundle, default

        print(_report(bundle.save(default.default_checkpoint(), options.name)))
    except ModelError as exc:
        print(f"save_model.py: {exc}", file=sys.stderr)
        return _EXIT_REFUSED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="save_model.py",
        description=__doc__,
        epilog="Then serve it with 'bentoml serve' or look at it with 'bentoml models get NAME:latest'.",
    )
    parser.add_argument("--name", default="image_recognition", help="name in the model store (default: %(default)s)")
    parser.add_argument("--if-missing", action="store_true", help="do nothing if the store has a model of that name")
    return parser


def _is_stored(name: str) -> bool:
    try:
        bentoml.models.get(name)
    except NotFound:
        return False
    return True


def _report(saved: "Saved") -> str:
    manifest, checked = saved.manifest, saved.verification
    height, width = manifest.input.crop
    return "\n".join(
        (
            f"stored        {saved.tag}",
            f"architecture  {manifest.architecture}, explained at {manifest.layer}",
            f"classes       {len(manifest.labels)}: {', '.join(manifest.labels[:3])}, ...",
            f"input         {width} x {height} pixels",
            f"size          {saved.size_bytes / 1e6:.1f} MB",
            "verified      every tensor is there and has the right shape; the logits are finite;",
            f"              split into backbone and head they differ by at most {checked.split:.1g},",
            f"              read back from what was written by at most {checked.stored:.1g}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())

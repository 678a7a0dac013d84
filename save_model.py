#!/usr/bin/env python3
"""Put a trained classifier into the BentoML model store, verified and ready to serve."""

# Torch takes seconds to import and --help, --list, --if-missing and mistakes must not wait for it.
# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # bentoml reads it once, when it is imported

import bentoml
from bentoml.exceptions import BentoMLException, NotFound
from yaml import YAMLError

from src.errors import ModelError

if TYPE_CHECKING:
    from src.checkpoints.checkpoint import Checkpoint
    from src.conversion.draft import Draft
    from src.evaluation.accuracy import Evaluation

_EXIT_REFUSED: Final = 2
_OF_A_CHECKPOINT: Final = (
    *("arch", "labels", "module", "layer"),
    *("input", "resize", "crop", "interpolation", "mean", "std"),
)
_EPILOG: Final = """\
examples:
  save_model.py                                         the default network, 1,000 classes of ImageNet
  save_model.py runs/bus_car/best.ckpt --name bus_car   what python -m src.train has made
  save_model.py epoch=4.ckpt --labels bus,car           any Lightning checkpoint of a torchvision or timm network
  save_model.py net.safetensors --arch timm/resnet50d --labels labels.json --check photos/

Then serve it: IMAGE_RECOGNITION_MODEL=NAME:latest bentoml serve
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 where the model cannot be stored."""
    options = _parser().parse_args(arguments)
    try:
        if options.list:
            return _list()
        _check_that_all_is_used(options)
        if options.if_missing and _is_stored(options.name):
            print(f"{options.name} is in the model store already.")
            return 0
        print(f"Reading, verifying and storing {options.checkpoint or 'the default network'} ...", flush=True)
        _save(options)
    except ModelError as exc:
        print(f"save_model.py: {exc}", file=sys.stderr)
        return _EXIT_REFUSED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="save_model.py",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("checkpoint", nargs="?", type=Path, help=".ckpt, .pt, .pth or .safetensors (default: the default network)")
    add("--name", default="image_recognition", help="name in the model store (default: %(default)s)")
    add("--version", help="version in the model store (default: a new one)")
    add("--if-missing", action="store_true", help="do nothing if the store has a model of that name")
    add("--list", action="store_true", help="show the models in the store and end")
    add("--check", metavar="FOLDER", type=Path, help="try it on a folder of pictures per class; keep the figures")
    network = parser.add_argument_group("the network (default: found out from the file)")
    network.add_argument("--arch", help="torchvision/NAME, timm/NAME or NAME")
    network.add_argument("--labels", help="text file, JSON file, folder with a folder per class, or bus,car")
    network.add_argument(
        "--module",
        metavar="FILE.py:CLASS",
        help="a network class of your own; this RUNS the code of that file, once, here",
    )
    network.add_argument("--layer", help="Grad-CAM layer (default: the last spatial feature map)")
    pictures = parser.add_argument_group("how pictures are prepared (default: as the file says or was published)")
    pictures.add_argument("--input", choices=["tutorial"], help="stretch to 256 x 256, centre 224 x 224, ImageNet mean")
    pictures.add_argument("--resize", type=_size, help="pixels of the shorter side, or HEIGHTxWIDTH to stretch to")
    pictures.add_argument("--crop", type=_size, help="pixels of the square in the centre, or HEIGHTxWIDTH")
    pictures.add_argument("--interpolation", choices=["nearest", "bilinear", "bicubic", "lanczos"])
    pictures.add_argument("--mean", type=_numbers, metavar="R,G,B", help="in units of 0 to 1")
    pictures.add_argument("--std", type=_numbers, metavar="R,G,B", help="in units of 0 to 1")
    return parser


def _check_that_all_is_used(options: argparse.Namespace) -> None:
    """Refuse at once what would be ignored, or fail in the end."""
    given = [name for name in _OF_A_CHECKPOINT if getattr(options, name) is not None]
    if options.checkpoint is None and given:
        raise ModelError(f"--{given[0]} says how to read a checkpoint, but none is given: name its file first.")
    if options.check and not options.check.is_dir():
        raise ModelError(f"There is no folder {options.check} to check it on.")
    if options.module and options.arch:
        raise ModelError("--module and --arch both say which network it is: give only one of them.")


def _size(text: str) -> int | tuple[int, int]:
    height, _, width = text.lower().partition("x")
    return (int(height), int(width)) if width else int(height)


def _numbers(text: str) -> tuple[float, ...]:
    numbers = tuple(float(number) for number in text.split(","))
    if len(numbers) != len("RGB") or not all(0 <= number <= 1 for number in numbers):
        raise argparse.ArgumentTypeError(f"must be three numbers from 0 to 1, such as 0.485,0.456,0.406, not {text!r}")
    return numbers


def _list() -> int:
    try:
        stored = bentoml.models.list()
    except YAMLError as exc:
        raise ModelError(f"The model store holds a damaged entry, a model.yaml that cannot be read: {exc}.") from exc
    for model in sorted(stored, key=lambda model: model.info.creation_time, reverse=True):
        metadata: dict[str, Any] = model.info.metadata
        check = metadata.get("check", {})
        accuracy = f", {check['accuracy']:.2%} of {check['pictures']} pictures right" if check else ""
        if "gradcam_layer" in metadata:
            print(f"{model.tag}  {metadata['architecture']}, {metadata['classes']} classes{accuracy}")
    return 0


def _is_stored(name: str) -> bool:
    try:
        bentoml.models.get(name)
    except NotFound:
        return False
    except (BentoMLException, ValueError) as exc:
        raise ModelError(f"The model store cannot look for {name!r}: {exc}.") from exc
    return True


def _save(options: argparse.Namespace) -> None:
    from src.conversion.draft import draft as drafted
    from src.store import bundle

    bundle.check_free(options.name, options.version)
    checkpoints = [_checkpoint(options)]
    notes = checkpoints[0].notes
    with drafted(checkpoints.pop()) as draft:  # which alone keeps the network, as long as it needs it
        print(_report(notes, draft))
        figures: dict[str, object] = {**draft.figures()}
        if options.check:
            figures["check"] = _check(draft, options.check).figures()
        tag = bundle.store(draft.folder, draft.manifest, options.name, options.version, figures)
    print(f"stored        {tag}")


def _checkpoint(options: argparse.Namespace) -> Checkpoint:
    if options.checkpoint is None:
        from src.checkpoints.default import default_checkpoint

        return default_checkpoint()
    from src.checkpoints.checkpoint import Given, read_checkpoint

    fields = ("resize", "crop", "interpolation", "mean", "std")
    changed = {name: getattr(options, name) for name in fields if getattr(options, name) is not None}
    if isinstance(changed.get("crop"), int):
        changed["crop"] = (changed["crop"], changed["crop"])
    given = Given(options.arch, options.labels, changed, options.input == "tutorial", options.layer, options.module)
    return read_checkpoint(options.checkpoint, given)


def _check(draft: Draft, folder: Path) -> Evaluation:
    from src.evaluation.accuracy import evaluate, save_plot
    from src.evaluation.precision import measure_change
    from src.pipeline import Pipeline
    from src.runtimes.select import start
    from src.stages.decode import DecodeLimits

    exact, fast = (
        Pipeline(
            draft.manifest,
            start(draft.folder, draft.manifest, threads=1, precision=precision),
            DecodeLimits(),
        )
        for precision in ("fp32", "bf16")
    )
    evaluation = evaluate(exact, folder)
    print(evaluation.table())
    if fast.runtime.precision == "bf16":  # not every CPU has it
        print(f"bf16          {measure_change(exact, fast, folder)}")
    plot = Path(f"{folder.resolve().name}-confusion.png")
    save_plot(evaluation, plot)
    print(f"plotted       {plot}")
    return evaluation


def _report(notes: tuple[str, ...], draft: Draft) -> str:
    manifest, checked = draft.manifest, draft.verification
    height, width = manifest.input.crop
    labels = ", ".join(manifest.labels[:3]) + (", ..." if len(manifest.labels) > 3 else "")  # noqa: PLR2004 - of these
    return "\n".join(
        (
            *(f"found         {note}" for note in notes),
            f"architecture  {manifest.architecture}, explained at {manifest.layer}",
            f"classes       {len(manifest.labels)}: {labels}",
            f"input         {width} x {height} pixels of a picture resized to {manifest.input.resize}",
            f"size          {draft.size_bytes / 1e6:.1f} MB",
            "verified      every tensor is there and has the right shape; the logits are finite;",
            f"              captured as a graph they differ by at most {checked.captured:.1g},",
            f"              behind the Grad-CAM layer by at most {checked.cut:.1g}",
            f"runs in       {_runtime(draft)}",
        )
    )


def _runtime(draft: Draft) -> str:
    manifest, agreement = draft.manifest, draft.agreement
    what = f"torch, on a CPU too: {manifest.note}" if manifest.note else "OpenVINO on a CPU, without torch"
    how = "in closed form" if manifest.head == "closed_form" else "by the gradient of its head"
    return (
        f"{what}; explained {how}; what was written\n"
        f"              answers as the network did: probabilities differ by at most {agreement.probability:.1g},"
        f" heatmaps by {agreement.heat:.1g}"
    )


if __name__ == "__main__":
    sys.exit(main())

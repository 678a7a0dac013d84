"""Parse and check the options of save_model.py."""

import argparse
import json
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Final, get_args

from src.checkpoints.given import Activation, Given
from src.errors import ModelError, Remedy
from src.stages.output_spec import OutputKind

__all__ = ["check_that_all_is_used", "given", "parser", "with_flags"]

_INPUT: Final = ("resize", "crop", "interpolation", "mean", "std")
_TOGETHER: Final = (*_INPUT, "arg")
_OF_A_CHECKPOINT: Final = (
    *("arch", "labels", "module", "arg", "network", "activation", "stem", "layer", "weights", "input", "output"),
    "channels",
    *_INPUT,
)
_EPILOG: Final = """\
examples:
  save_model.py                                         the default network, 1,000 classes of ImageNet
  save_model.py runs/bus_car/best.ckpt --name bus_car   a checkpoint of python -m src.train
  save_model.py epoch=4.ckpt --labels bus,car           any Lightning checkpoint of a torchvision or timm network
  save_model.py net.safetensors --arch timm/resnet50d --labels labels.json --check images/

Then serve it: IMAGE_RECOGNITION_MODEL=NAME:latest .venv/bin/bentoml serve service:ImageRecognition
"""
# Flags whose names differ from the fields of a Remedy.
_FLAGS: Final = {"architecture": "arch"}
_FORMS: Final = {"module": "FILE.py:CLASS"}  # placeholders for values that only the user knows


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser; omitted options that describe a checkpoint are None."""
    options = argparse.ArgumentParser(
        prog="save_model.py",
        description=description,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = options.add_argument
    add(
        "checkpoint",
        nargs="?",
        type=Path,
        help="weights file, or folder of timm or transformers (default: the default network)",
    )
    add("--name", default="image_recognition", help="name in the model store (default: %(default)s)")
    add("--version", help="version in the model store (default: a new one)")
    add("--if-missing", action="store_true", help="do nothing if the store already has a model of that name")
    add("--list", action="store_true", help="list the models in the store and exit")
    add(
        "--card",
        metavar="TAG",
        help="print the card of a model in the store, as Markdown for the Hugging Face hub, and exit",
    )
    add(
        "--check",
        metavar="FOLDER",
        type=Path,
        help="check the model on a folder of images per class, or a CSV of labels, and store the figures with it",
    )
    add(
        "--coverage",
        metavar="PERCENT",
        type=_percent,
        help="with --check: how often the prediction set should include the right class (default: 90)",
    )
    _add_network(options)
    _add_input(options)
    return options


def _add_network(options: argparse.ArgumentParser) -> None:
    network = options.add_argument_group("the network (default: inferred from the file)")
    network.add_argument(
        "--arch",
        metavar="NAME",
        help="the architecture: torchvision/NAME, timm/NAME or NAME, or NAME.TAG for the input of those weights",
    )
    network.add_argument(
        "--labels", help="names of the classes: text file, JSON file, folder with a folder per class, or bus,car"
    )
    network.add_argument(
        "--module",
        metavar="FILE.py:CLASS",
        help="your own network class, such as your LightningModule; this RUNS the code of that file once, here",
    )
    network.add_argument(
        "--arg",
        metavar="NAME=VALUE",
        action="append",
        type=_argument,
        help="an argument of that class that the file lacks, as JSON or text; can be repeated",
    )
    network.add_argument(
        "--network", metavar="PREFIX", help="prefix of the network's tensor names, if the file has several"
    )
    network.add_argument(
        "--activation", choices=get_args(Activation), help="activation between the head's layers; none: there is none"
    )
    network.add_argument("--stem", choices=["cifar"], help="the first convolution is 3 x 3, stride 1, without max-pool")
    network.add_argument("--weights", choices=["ema"], help="use the averaged weights, if the file has both")
    network.add_argument(
        "--output",
        choices=get_args(OutputKind),
        help="what the outputs mean: one class, one of two by a single sigmoid, or any number by a sigmoid each",
    )
    network.add_argument("--layer", metavar="NAME", help="Grad-CAM layer (default: the last spatial feature map)")


def _add_input(options: argparse.ArgumentParser) -> None:
    images = options.add_argument_group("preprocessing (default: from the file, or as published)")
    images.add_argument("--input", choices=["tutorial"], help="stretched to 256 x 256, crop 224, ImageNet mean, std")
    images.add_argument("--channels", type=int, choices=[1, 3], help="1 if the network takes gray images")
    images.add_argument(
        "--resize", type=_size, metavar="PIXELS", help="shorter side in pixels, or HEIGHTxWIDTH to stretch to"
    )
    images.add_argument(
        "--crop", type=_size, metavar="PIXELS", help="center crop: side of the square in pixels, or HEIGHTxWIDTH"
    )
    images.add_argument(
        "--interpolation", choices=["nearest", "bilinear", "bicubic", "lanczos"], help="resampling filter of the resize"
    )
    images.add_argument(
        "--mean", type=_numbers, metavar="R,G,B", help="mean per channel, or one for all, for pixel values from 0 to 1"
    )
    images.add_argument(
        "--std", type=_numbers, metavar="R,G,B", help="standard deviation, in the same form as the mean"
    )


def _argument(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, an argument's name and value, not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _percent(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 99:  # noqa: PLR2004 - at 100 every set has all classes
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 99, such as 90, not {text!r}")
    return int(text)


def _size(text: str) -> int | tuple[int, int]:
    height, _, width = text.lower().partition("x")
    try:
        return (int(height), int(width)) if width else int(height)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be pixels, such as 256 or 240x320, not {text!r}") from None


def _numbers(text: str) -> tuple[float, ...]:
    with suppress(ValueError):
        numbers = tuple(map(float, text.split(",")))
        if len(numbers) in {1, len("RGB")} and all(0 <= number <= 1 for number in numbers):
            return numbers
    raise argparse.ArgumentTypeError(
        f"must be one or three numbers from 0 to 1, such as 0.5 or 0.485,0.456,0.406, not {text!r}"
    )


def check_that_all_is_used(options: argparse.Namespace) -> None:
    """Reject options that would be ignored or would fail later.

    Raises:
        ModelError: An option has no effect, contradicts another one, or names images that do not exist.
    """
    said = [name for name in _OF_A_CHECKPOINT if getattr(options, name) is not None]
    if options.checkpoint is None and said:
        raise ModelError(f"--{said[0]} says how to read a checkpoint, but none is given: add the path of its file.")
    if options.check and not options.check.exists():
        raise ModelError(f"{options.check} does not exist: --check needs a folder of images per class, or a CSV.")
    if options.coverage and not options.check:
        raise ModelError("--coverage has no effect without a check: add a folder of images.", Remedy("check", "FOLDER"))
    if options.arg and not options.module:
        raise ModelError("--arg gives an argument to a class of your own: name that class, too.", Remedy("module"))
    if options.module and options.arch:
        raise ModelError("--module and --arch both say which network it is: use only one of them.")
    if options.module and (options.activation or options.stem):
        raise ModelError("--activation and --stem describe changes to a library's network: omit them with --module.")


def given(options: argparse.Namespace) -> Given:
    """Return the part of ``options`` that describes the checkpoint."""
    changed = {name: getattr(options, name) for name in _INPUT if getattr(options, name) is not None}
    if isinstance(changed.get("crop"), int):
        changed["crop"] = (changed["crop"], changed["crop"])
    same = {field.name: getattr(options, field.name) for field in fields(Given) if hasattr(options, field.name)}
    named = {"architecture": options.arch, "arguments": dict(options.arg or ()), "input": changed}
    return Given(**same | named | {"tutorial": options.input == "tutorial"})


def with_flags(sentence: str, remedies: tuple[Remedy, ...]) -> str:
    """Return ``sentence``, followed by the flags that set ``remedies``.

    They are alternatives, except values for the preprocessing, which belong together, and arguments of a class.
    """
    flags = [
        f"--{_FLAGS.get(remedy.field, remedy.field)} {remedy.value or _FORMS.get(remedy.field, '')}".strip()
        for remedy in remedies
    ]
    together = all(remedy.value and remedy.field in _TOGETHER for remedy in remedies)
    return f"{sentence} ({(' ' if together else ' or ').join(flags)})" if flags else sentence

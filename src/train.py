"""Train a classifier on a folder of photos per class: FOLDER/<class>/<photo>."""

import argparse
import csv
import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import InterpolationMode, v2

from src.dataset import Dataset, Photo, Split, read_dataset, split
from src.errors import ModelError
from src.model.architecture import full_name
from src.model.classifier import Batch, Classifier
from src.model.default import default_checkpoint
from src.model.inputs import published_input
from src.model.manifest import InputSpec
from src.stages.transform import transform

__all__ = ["main"]

_EXIT_REFUSED: Final = 2
_EXIT_INTERRUPTED: Final = 130
_DEFAULT: Final = "timm/tf_efficientnet_lite0"
# What photos consist of it knows already; only its last convolution and the head learn. The backward pass through the
# depthwise convolutions before them would double the time, and costs more in bfloat16 than in float32.
_FROZEN: Final = ("conv_stem", "bn1", "blocks")
_LEARNING_RATE: Final = 1e-3
# The share of it for what was learned on a million photos already: small, so as not to destroy it.
_PRETRAINED_SHARE: Final = 0.03
_BATCH: Final = 32
_EPOCHS: Final = 4
_MAX_EPOCHS: Final = 40
_STEPS: Final = 120  # at least, where --epochs is not given
_PATIENCE: Final = 4
_SKIPPED_SHOWN: Final = 20
_FAST_BFLOAT16: Final = ("amx_bf16", "avx512_bf16")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained: the options of the command, completed from the checkpoint that is resumed."""

    architecture: str
    seed: int
    validation: float
    input: InputSpec


class _Pictures(TorchDataset[tuple[torch.Tensor, int]]):
    """Photos as the network takes them, (3, H, W): as in the service or, to learn from, varied at random each time."""

    def __init__(self, photos: Sequence[Photo], spec: InputSpec, *, varied: bool) -> None:
        self._photos = photos
        self._spec = spec.model_copy(update={"resize": spec.crop}) if varied else spec
        self._vary = _augmentation(spec) if varied else None

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        photo = self._photos[index]
        image = self._vary(photo.image) if self._vary is not None else photo.image
        return transform(image, self._spec).tensor, photo.label


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 2 where it cannot train, 130 where it was stopped by Ctrl-C."""
    options = _parser().parse_args(arguments)
    on_interrupt = signal.getsignal(signal.SIGINT)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning advises on worker processes and folders that are not empty
            return _run(options)
    except ModelError as exc:
        print(f"train: {exc}", file=sys.stderr)
        return _EXIT_REFUSED
    except KeyboardInterrupt:
        print("\nStopped before the training began.", file=sys.stderr)
        return _EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, on_interrupt)  # Lightning ignores it once it was interrupted


def _run(options: argparse.Namespace) -> int:
    stored = _hyper_parameters(options.resume) if options.resume else {}
    recipe = _recipe(options, stored)
    dataset = read_dataset(options.folder, recipe.input)
    parts = split(dataset, recipe.validation, recipe.seed)
    _set_pace(options, len(parts.training))
    out = _made(options.out or Path("runs") / options.folder.resolve().name)
    pl.seed_everything(recipe.seed, verbose=False)
    classifier = _classifier(recipe, dataset)
    _check_same(options.resume, stored, classifier)
    _announce(recipe, dataset, parts)
    interrupted = _fit(classifier, parts, recipe, options, out)
    best = out / "best.ckpt"
    if interrupted and not best.exists():
        print("\nStopped before the first epoch ended: nothing was saved.", file=sys.stderr)
        return _EXIT_INTERRUPTED
    _plot(_history(out / "metrics.csv"), out / "learning_curve.png")
    _report(classifier, parts, recipe, best, interrupted=interrupted)
    return _EXIT_INTERRUPTED if interrupted else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m src.train",
        description=__doc__,
        epilog="Then store the model with 'python save_model.py OUT/best.ckpt' and serve it.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="holds one folder of photos for each class")
    parser.add_argument("--arch", metavar="NAME", help=f"torchvision/<name> or timm/<name> (default: {_DEFAULT},"
                        " which starts from ImageNet weights; all others start from random ones)")  # fmt: skip
    parser.add_argument("--epochs", type=_whole(1), help="passes over the photos (default: 4, more for few photos)")
    parser.add_argument("--batch-size", type=_whole(2), help="photos per step (default: 32, fewer for few photos)")
    parser.add_argument("--seed", type=_whole(0), help="of the split and all other chance (default: 0)")
    parser.add_argument("--validation", metavar="FRACTION", type=_fraction,
                        help="share of the photos to judge by, never learned from (default: 0.15)")  # fmt: skip
    parser.add_argument("--resume", metavar="LAST.ckpt", type=Path, help="go on from the end of an earlier run's file")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="where to write (default: runs/<name of FOLDER>)")
    return parser


def _whole(least: int) -> Any:  # noqa: ANN401 - argparse wants some callable
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r}")
        return int(text)

    return number


def _set_pace(options: argparse.Namespace, photos: int) -> None:
    """Complete batch size and epochs: few photos need small batches and many passes to be learned at all."""
    options.batch_size = options.batch_size or max(4, min(_BATCH, photos // 4))
    steps = max(1, photos // options.batch_size)
    options.epochs = options.epochs or min(_MAX_EPOCHS, max(_EPOCHS, -(-_STEPS // steps)))


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, such as 0.15, not {text!r}")
    return value


def _hyper_parameters(file: Path) -> dict[str, Any]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        return dict(content["hyper_parameters"])
    except OSError as exc:
        raise ModelError(f"Cannot read {file} ({exc.strerror}): give the last.ckpt of an earlier run.") from exc
    except Exception as exc:  # torch raises what its unpickler happens to stumble over
        raise ModelError(f"{file} is not a checkpoint of this command: give the last.ckpt of an earlier run.") from exc


def _recipe(options: argparse.Namespace, stored: dict[str, Any]) -> Recipe:
    origin = stored.get("origin") or {}
    architecture = full_name(options.arch or stored.get("architecture", _DEFAULT))
    return Recipe(
        architecture=architecture,
        seed=options.seed if options.seed is not None else int(origin.get("seed", 0)),
        validation=options.validation or float(origin.get("validation", 0.15)),
        input=default_checkpoint().input if architecture == _DEFAULT else published_input(architecture),
    )


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ModelError(f"Cannot write to {folder} ({exc.strerror}): choose another folder with --out.") from exc
    return folder


def _classifier(recipe: Recipe, dataset: Dataset) -> Classifier:
    """Return a classifier for the classes of ``dataset``; the default network keeps all that it knows but its head."""
    pretrained = recipe.architecture == _DEFAULT
    classifier = Classifier(
        architecture=recipe.architecture,
        labels=dataset.labels,
        input=recipe.input.model_dump(mode="json"),
        learning_rate=_LEARNING_RATE,
        backbone_rate=_PRETRAINED_SHARE if pretrained else 1.0,
        frozen=_FROZEN if pretrained else (),
        keep_statistics=pretrained,
        origin={"dataset": dataset.digest, "seed": recipe.seed, "validation": recipe.validation},
    )
    if pretrained:
        known = default_checkpoint().weights
        # A head of zeros starts with no opinion; a random one would first have to be unlearned.
        own = {name: torch.zeros_like(tensor) for name, tensor in classifier.network.state_dict().items()}
        kept = {name: tensor for name, tensor in known.items() if not name.startswith("classifier.")}
        classifier.network.load_state_dict(own | kept)
    return classifier


def _check_same(file: Path | None, stored: dict[str, Any], classifier: Classifier) -> None:
    """Refuse to go on from a run whose validation photos this one would learn from, or whose weights do not fit."""
    if not stored:
        return
    now = {**classifier.hparams, **classifier.hparams["origin"]}
    then = {**stored, **stored.get("origin", {})}
    for name in ("labels", "architecture", "dataset", "seed", "validation"):
        if then.get(name) != now[name]:
            detail = "" if name == "dataset" else f" ({then.get(name)}, now {now[name]})"
            raise ModelError(f"{file} is of a run with other {name}{detail}: start anew without --resume.")


def _announce(recipe: Recipe, dataset: Dataset, parts: Split) -> None:
    if dataset.skipped:
        print(f"{len(dataset.skipped)} unreadable file{'s' * (len(dataset.skipped) > 1)} skipped:")
        for skipped in dataset.skipped[:_SKIPPED_SHOWN]:
            print(f"  {skipped.path}: {skipped.reason}")
    counts = [sum(photo.label == label for photo in dataset.photos) for label in range(len(dataset.labels))]
    print("classes       " + ", ".join(f"{name} ({n})" for name, n in zip(dataset.labels, counts, strict=True)))
    print(f"photos        {len(parts.training)} to learn from, {len(parts.validation)} to judge by")
    weights = (
        "ImageNet weights" if recipe.architecture == _DEFAULT else "random weights: it needs many photos and epochs"
    )
    print(f"network       {recipe.architecture}, from {weights}", flush=True)


def _augmentation(spec: InputSpec) -> v2.Compose:
    return v2.Compose([
        v2.RandomResizedCrop(spec.crop, scale=(0.4, 1.0), interpolation=InterpolationMode(spec.interpolation)),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
    ])  # fmt: skip


def _fit(classifier: Classifier, parts: Split, recipe: Recipe, options: argparse.Namespace, out: Path) -> bool:
    """Train; write best.ckpt, last.ckpt and metrics.csv to ``out``. Return whether it was stopped by Ctrl-C."""
    earlier = _rows(out / "metrics.csv") if options.resume else []
    if not options.resume:
        (out / "best.ckpt").unlink(missing_ok=True)
    trainer = pl.Trainer(
        max_epochs=options.epochs,
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if _has_fast_bfloat16() else "32-true",
        deterministic="warn" if torch.cuda.is_available() else None,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
        logger=CSVLogger(out, name="", version=""),
        callbacks=[
            TQDMProgressBar(leave=True),
            EarlyStopping("val_loss", patience=_PATIENCE),
            ModelCheckpoint(out, "best", "val_loss", save_last=True, enable_version_counter=False),
        ],
    )
    try:
        trainer.fit(
            classifier, *_loaders(parts, recipe, options.batch_size), ckpt_path=options.resume, weights_only=True
        )
    except SystemExit:  # how Lightning answers Ctrl-C
        return True
    finally:
        _prepend(earlier, out / "metrics.csv")
    return False


def _has_fast_bfloat16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in _FAST_BFLOAT16)


def _loaders(parts: Split, recipe: Recipe, batch_size: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    training = _Pictures(parts.training, recipe.input, varied=True)
    # A batch norm cannot learn from a last batch of one picture.
    whole = len(training) > batch_size
    return DataLoader(training, batch_size, shuffle=True, drop_last=whole), _validation(parts, recipe)


def _validation(parts: Split, recipe: Recipe) -> DataLoader[Any]:
    return DataLoader(_Pictures(parts.validation, recipe.input, varied=False), batch_size=32)


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _prepend(earlier: list[dict[str, str]], file: Path) -> None:
    """Write the rows of the run that was resumed back before those of this one: Lightning starts a new file."""
    if not earlier:
        return
    later = _rows(file)
    first = min((int(row["epoch"]) for row in later), default=sys.maxsize)
    rows = [row for row in earlier if int(row["epoch"]) < first] + later
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def _history(file: Path) -> dict[str, dict[int, float]]:
    """Return each metric by epoch, counted from 1."""
    history: dict[str, dict[int, float]] = {}
    for row in _rows(file):
        for name, value in row.items():
            if name not in {"epoch", "step"} and value:
                history.setdefault(name, {})[int(row["epoch"]) + 1] = float(value)
    return history


def _plot(history: dict[str, dict[int, float]], file: Path) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, metric, factor, label in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), (1, 100), ("loss (cross-entropy)", "accuracy (%)"), strict=True
    ):
        for part, name in (("train", "training"), ("val", "validation")):
            values = history.get(f"{part}_{metric}", {})
            axes.plot(list(values), [factor * value for value in values.values()], marker="o", label=name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(file, dpi=120)


def _report(classifier: Classifier, parts: Split, recipe: Recipe, best: Path, *, interrupted: bool) -> None:
    classifier.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["state_dict"])
    right, total = _count_right(classifier.cpu().eval(), _validation(parts, recipe)), len(parts.validation)
    if interrupted:
        print("\nStopped; the best checkpoint so far is kept.")
    print(f"accuracy      {right} of {total} photos that it has not seen are right: {100 * right / total:.2f} %")
    print(f"written       {best}, last.ckpt, metrics.csv, learning_curve.png")
    print(f"next          python save_model.py {best}")


@torch.inference_mode()
def _count_right(classifier: Classifier, batches: DataLoader[Batch]) -> int:
    return sum(int((classifier(images).argmax(1) == targets).sum()) for images, targets in batches)


if __name__ == "__main__":
    sys.exit(main())

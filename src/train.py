"""Train a classifier on a folder of images per class, FOLDER/<class>/<image>, or on a CSV of labels."""

# Torch and Lightning take seconds to import; --help and errors in the options must not wait for them.
# ruff: noqa: PLC0415

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import sys
import warnings
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

from src.errors import ModelError, described
from src.training.dataset import read_dataset, split
from src.training.options import parser

if TYPE_CHECKING:
    import argparse
    from concurrent.futures import Executor

    import pytorch_lightning as pl

    from src.checkpoints.carried import Carried
    from src.training.batches import SeenBatches, VariedBatches
    from src.training.classifier import Classifier
    from src.training.dataset import Dataset, Split
    from src.training.recipe import Earlier, Recipe

__all__ = ["main"]

_EXIT_REFUSED: Final = 2
_EXIT_INTERRUPTED: Final = 130
_PATIENCE: Final = 4
_SKIPPED_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class _Run:
    """Everything a training run needs."""

    classifier: Classifier
    training: VariedBatches
    validation: SeenBatches
    epochs: int
    earlier: Earlier | None
    out: Path
    parts: Split
    pool: Executor
    carried: Carried

    @property
    def in_place(self) -> bool:
        """Whether it writes to the folder of the run that it resumes."""
        return self.earlier is not None and self.earlier.file.resolve().parent == self.out.resolve()


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 2 if it cannot train, 130 if Ctrl-C stopped it."""
    options = parser(__doc__).parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every name is UTF-8, nor is every terminal
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice about worker processes and non-empty folders
            return _train(options)
    except (ModelError, OSError) as exc:  # the latter: no permission, a full disk
        print(f"train: {described(exc) if isinstance(exc, OSError) else exc}", file=sys.stderr)
        return _EXIT_REFUSED
    except KeyboardInterrupt:
        print("\nStopped; what is written so far is kept.", file=sys.stderr)
        return _EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, on_interrupt)  # Lightning ignores it after an interrupt


def _train(options: argparse.Namespace) -> int:
    print(f"Reading {options.folder} ...", flush=True)
    import pytorch_lightning as pl

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its import sets INFO

    from src.checkpoints.carried import Carried
    from src.stages.output_spec import OutputSpec
    from src.training.feed import Feed, workers
    from src.training.recipe import earlier_run, new_classifier, pace, recipe, resume

    earlier = earlier_run(options.resume) if options.resume else None
    chosen = recipe(options, earlier)
    dataset = read_dataset(options.folder, chosen.input)
    parts = split(dataset, chosen.validation, chosen.seed)
    out = _made(options.out or Path("runs") / _name(options.folder))
    pl.seed_everything(chosen.seed, verbose=False)
    classifier = new_classifier(chosen, dataset)
    if earlier:
        resume(earlier, classifier)
    learned_from = frozenset(image.file_digest for image in parts.training)
    classifier.carried = carried = Carried(chosen.input, OutputSpec(kind=dataset.output), learned_from)
    _announce(chosen, dataset, parts)
    steps = pace(options, len(parts.training))
    with workers(classifier) as pool:
        feed = Feed(classifier, chosen.input, pool)
        training = feed.training(parts.training, steps.batch_size, chosen.seed, earlier.epochs if earlier else 0)
        run = _Run(
            classifier, training, feed.validation(parts.validation), steps.epochs, earlier, out, parts, pool, carried
        )
        return _finish(run, interrupted=_fit(run))


def _name(source: Path) -> str:
    return source.stem if source.is_file() else source.resolve().name


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise ModelError(f"Cannot write to {folder} ({exc.strerror}): choose another folder with --out.") from exc
    return folder


def _announce(recipe: Recipe, dataset: Dataset, parts: Split) -> None:
    if dataset.skipped:
        print(f"{len(dataset.skipped)} unreadable file{'s' * (len(dataset.skipped) > 1)} skipped:")
        for skipped in dataset.skipped[:_SKIPPED_SHOWN]:
            print(f"  {skipped.path}: {skipped.reason}")
    counts = map(dataset.count, range(len(dataset.labels)))
    print("classes       " + ", ".join(f"{name} ({n})" for name, n in zip(dataset.labels, counts, strict=True)))
    print(f"images        {len(parts.training)} for training, {len(parts.validation)} for validation")
    weights = "published weights" if recipe.pretrained else "random weights, which need many images and epochs"
    print(f"network       {recipe.architecture}, from {weights}", flush=True)


def _fit(run: _Run) -> bool:
    """Train, write best.ckpt, last.ckpt and metrics.csv, and return whether Ctrl-C stopped the run.

    Raises:
        ModelError: The run to resume has completed all epochs, and its best checkpoint is not there.
    """
    from src.training.learning_curve import prepend, read_rows

    metrics, best = run.out / "metrics.csv", run.out / "best.ckpt"
    rows: list[dict[str, str]] = []
    if run.earlier:
        completed = run.earlier.epochs
        if run.epochs < completed or (run.epochs == completed and not (run.in_place and best.exists())):
            raise ModelError(f"The run of {run.earlier.file} has completed {completed} epochs: set more with --epochs.")
        rows = read_rows(run.earlier.file.with_name(metrics.name))
    if not run.in_place:
        best.unlink(missing_ok=True)
    resumed = run.earlier.file if run.earlier else None
    try:
        _trainer(run).fit(run.classifier, run.training, run.validation, ckpt_path=resumed, weights_only=True)
    except SystemExit:  # how Lightning reacts to Ctrl-C
        return True
    finally:
        prepend(rows, metrics)
    return False


def _trainer(run: _Run) -> pl.Trainer:
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
    from pytorch_lightning.loggers import CSVLogger

    from src.training.feed import has_fast_bfloat16

    return pl.Trainer(
        max_epochs=run.epochs,
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if has_fast_bfloat16() else "32-true",
        deterministic="warn" if torch.cuda.is_available() else None,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
        logger=CSVLogger(run.out, name="", version=""),
        callbacks=[
            TQDMProgressBar(leave=True),
            EarlyStopping("val_loss", patience=_PATIENCE),
            ModelCheckpoint(run.out, "best", "val_loss", save_last=True, enable_version_counter=False),
        ],
    )


def _finish(run: _Run, *, interrupted: bool) -> int:
    """Plot the learning curve, report the accuracy of the best checkpoint, and return the exit code."""
    from src.training.calibration import calibrate_checkpoint
    from src.training.learning_curve import history, plot

    best = run.out / "best.ckpt"
    if interrupted and not best.exists():
        print("\nStopped before the first epoch ended: nothing was saved.", file=sys.stderr)
        return _EXIT_INTERRUPTED
    plot(history(run.out / "metrics.csv"), run.out / "learning_curve.png")
    right, total = _count_right(run, best)
    if interrupted:
        print("\nStopped; the best checkpoint so far is kept.")
    print(f"accuracy      {right} of {total} images classified correctly in validation: {100 * right / total:.2f} %")
    if not interrupted:
        print("Calibrating on these images ...", flush=True)
        print("\n".join(calibrate_checkpoint(best, run.classifier.network, run.parts, run.carried, run.pool)))
    print(f"written       {best}, last.ckpt, metrics.csv, learning_curve.png")
    python = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
    name = re.sub(r"[^a-z0-9]+", "_", run.out.resolve().name.lower()).strip("_") or "model"
    print(f"next          {shlex.join([python, 'save_model.py', str(best), '--name', name])}")
    return _EXIT_INTERRUPTED if interrupted else 0


def _count_right(run: _Run, best: Path) -> tuple[int, int]:
    """Return how many validation images ``best`` classifies correctly, and how many there are."""
    import torch

    run.classifier.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["state_dict"])
    learning = run.classifier.cpu().eval().learning_layers()
    with torch.inference_mode():
        right = [run.classifier.right(learning(features.cpu()), targets.cpu()) for features, targets in run.validation]
    return sum(int(part.sum()) for part in right), sum(map(len, right))


if __name__ == "__main__":
    sys.exit(main())

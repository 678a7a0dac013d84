#!/usr/bin/env python3
"""Verify a trained classifier and put it into the BentoML model store, ready to serve."""

# Torch takes seconds to import; --help, --list, --if-missing and errors in the options must not wait for it.
# ruff: noqa: PLC0415

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # bentoml reads it once, when it is imported

import bentoml
from bentoml.exceptions import BentoMLException, NotFound
from yaml import YAMLError

from src.errors import ModelError, described
from src.saving.options import check_that_all_is_used, given, parser, with_flags

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

    from src.checkpoints.carried import Carried
    from src.checkpoints.checkpoint import Checkpoint
    from src.conversion.draft import Draft
    from src.evaluation.accuracy import Evaluation
    from src.evaluation.confidence import Lesson
    from src.pipeline import Pipeline
    from src.runtimes.base import Precision
    from src.runtimes.select import RuntimeChoice
    from src.stages.input_spec import InputSpec
    from src.stages.output_spec import OutputKind

__all__ = ["main", "save_model"]

_EXIT_REFUSED: Final = 2
_EXIT_INTERRUPTED: Final = 130
_LOG: Final = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 2 if the model cannot be stored, 130 if Ctrl-C stopped it."""
    options = parser(__doc__).parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every name is UTF-8, nor is every terminal
    logging.basicConfig(format="%(message)s")
    logging.getLogger("src.conversion").setLevel(logging.INFO)
    try:
        return _run(options)
    except ModelError as exc:
        print(f"save_model.py: {with_flags(str(exc), exc.remedies)}", file=sys.stderr)
        return _EXIT_REFUSED
    except OSError as exc:  # no permission, a full disk
        print(f"save_model.py: {described(exc)}", file=sys.stderr)
        return _EXIT_REFUSED
    except KeyboardInterrupt:
        print("\nStopped: nothing was stored.", file=sys.stderr)
        return _EXIT_INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    if options.list:
        return _list()
    if options.card:
        return _card(options.card)
    check_that_all_is_used(options)
    if options.if_missing and _is_stored(options.name):
        print(f"{options.name} is already in the model store.")
        return 0
    print(f"Reading, verifying and storing {options.checkpoint or 'the default network'} ...", flush=True)
    _save(options)
    return 0


def _list() -> int:
    try:
        stored = bentoml.models.list()
    except YAMLError as exc:
        raise ModelError(f"The model store has a damaged entry, whose model.yaml cannot be read: {exc}.") from exc
    except (BentoMLException, ValueError) as exc:  # an entry without model.yaml, or a folder that is no entry
        raise ModelError(f"The model store cannot be listed: {exc}.") from exc
    for model in sorted(stored, key=lambda model: model.info.creation_time, reverse=True):
        metadata: dict[str, Any] = model.info.metadata
        check = metadata.get("check", {})
        images = check.get("images", check.get("pictures"))  # the field's earlier name
        accuracy = f", {check['accuracy']:.2%} of {images} images right" if check else ""
        if "gradcam_layer" in metadata:
            print(f"{model.tag}  {metadata['architecture']}, {metadata['classes']} classes{accuracy}")
    return 0


def _card(tag: str) -> int:
    from src.saving.card import card
    from src.store import bundle

    print(card(bundle.load(tag)))
    return 0


def _is_stored(name: str) -> bool:
    try:
        bentoml.models.get(name)
    except NotFound:
        return False
    except (BentoMLException, ValueError, YAMLError) as exc:
        raise ModelError(f"Cannot look up {name!r} in the model store: {exc}.") from exc
    return True


def save_model(  # noqa: PLR0913 - everything that describes a model
    module: nn.Module,
    *,
    name: str,
    labels: Sequence[str] | Mapping[str, int] | str,
    transform: object,
    version: str | None = None,
    layer: str | None = None,
    output: OutputKind | None = None,
) -> str:
    """Put a trained module from memory into the model store, leaving the module unchanged.

    Args:
        module: Images (N, C, H, W) -> scores (N, classes), such as a LightningModule; on any device, in any mode.
        name: Name of the model in the store.
        labels: Name of each class, by index, a map such as class_to_idx, or a file or folder that has them.
        transform: Preprocessing of your validation images: torchvision's Compose, or an InputSpec.
        version: Version in the store; None for a new one.
        layer: Grad-CAM layer; None for the last spatial feature map.
        output: What the scores mean: softmax, binary or multilabel; None to infer it from their last operation.

    Returns:
        The tag in the model store.

    Raises:
        ModelError: The module cannot be captured or explained, the transform is not supported, or labels are wrong.
    """
    import torch

    from src.checkpoints.own.memory import from_memory
    from src.store import bundle

    bundle.check_free(name, version)
    with torch.inference_mode(mode=False), torch.enable_grad():  # validation callbacks run without gradients
        return _stored([from_memory(module, labels, transform, layer, output)], name, version)


def _save(options: argparse.Namespace) -> None:
    import src.conversion.draft  # noqa: F401 - its imports are the bulk of all
    from src.store import bundle

    gc.freeze()  # what is imported stays: a tenth of the time would go into looking through it again and again
    atexit.register(gc.unfreeze)  # or triton, which torch imports, complains of leaks at the end
    bundle.check_free(options.name, options.version)
    check = (options.check, options.coverage) if options.check else None
    tag = _stored([_checkpoint(options)], options.name, options.version, check, tell=print)
    print(f"stored        {tag}")


def _stored(
    checkpoints: list[Checkpoint],
    name: str,
    version: str | None,
    check: tuple[Path, int | None] | None = None,
    tell: Callable[[str], object] = _LOG.info,
) -> str:
    """Verify and store the only checkpoint in ``checkpoints``, removing it from there so that its memory can be freed.

    ``check`` has the images to check it on, and the coverage of its prediction sets if one was requested.
    """
    from src.conversion.draft import draft as drafted
    from src.saving.learning import take_over
    from src.saving.report import report
    from src.store import bundle

    notes, carried = checkpoints[0].notes, checkpoints[0].carried
    with drafted(checkpoints.pop()) as verified:  # holds the only reference to the network
        draft, said = take_over(verified, carried)
        tell(report(notes, draft))
        if said:
            tell(said)
        figures: dict[str, object] = {**draft.figures()}
        if check:
            draft, checked = _check(draft, check[0], carried, check[1])
            figures["check"] = checked | _check_explanations(draft, check[0])
        return bundle.store(draft.folder, draft.manifest, name, version, figures)


def _checkpoint(options: argparse.Namespace) -> Checkpoint:
    if options.checkpoint is None:
        from src.checkpoints.default import default_checkpoint

        return default_checkpoint()
    from src.checkpoints.checkpoint import read_checkpoint

    return read_checkpoint(options.checkpoint, given(options))


def _check(draft: Draft, source: Path, carried: Carried | None, coverage: int | None) -> tuple[Draft, dict[str, Any]]:
    """Check the model on labeled images; return it with what it learned from them, and the figures to store."""
    from src.saving.learning import learn_from

    if coverage and not draft.manifest.output.exclusive:
        raise ModelError("A multi-label model has no prediction sets, so --coverage has no effect on it: omit it.")
    _try_preparations(draft, source)
    if draft.manifest.output.exclusive:
        draft, evaluation = _check_folder(draft, source)
        draft, lesson = learn_from(evaluation.observed, evaluation.targets, draft, carried, coverage)
        _tell_lesson(lesson, source)
        return draft, evaluation.figures() | lesson.figures
    from src.evaluation.multilabel import evaluate_table
    from src.stages.output_spec import OutputSpec

    table = evaluate_table(_pipeline(draft), source)
    print(table.table())
    thresholds = table.thresholds(carried.learned_from if carried else ())
    chosen = ", ".join(f"{label} {value:.2f}" for label, value in zip(table.classes, thresholds, strict=True))
    print(f"thresholds    {chosen}: the best F1 on these images; 0.50 if fewer than 10 have the class, or lack it")
    draft = draft.with_output(OutputSpec(kind="multilabel", thresholds=thresholds))
    draft, lesson = learn_from(table.observed, table.any_class, draft, carried, coverage)
    _tell_lesson(lesson, source)
    return draft, table.figures() | lesson.figures


def _check_folder(draft: Draft, folder: Path) -> tuple[Draft, Evaluation]:
    from src.evaluation.accuracy import evaluate, save_plot
    from src.evaluation.precision import measure_change

    exact, fast = _pipeline(draft), _pipeline(draft, precision="bf16")
    evaluation = evaluate(exact, folder)
    print(evaluation.table())
    if fast.runtime.graphs.precision == "bf16":  # not every CPU has it
        change = measure_change(exact, fast, folder)
        print(f"bf16          {change}{': IMAGE_RECOGNITION_PRECISION=auto uses it' if change.harmless else ''}")
        draft = draft.with_bf16(harmless=change.harmless)
    _plot(Path(f"{folder.resolve().name}-confusion.png"), lambda file: save_plot(evaluation, file))
    return draft, evaluation


def _plot(file: Path, save: Callable[[Path], object]) -> None:
    """Save a plot as ``file`` and report it; a working folder that is read-only does not end a check."""
    try:
        save(file)
    except OSError as exc:
        print(f"not plotted   {file}: {exc.strerror or exc}")
    else:
        print(f"plotted       {file}")


def _tell_lesson(lesson: Lesson, source: Path) -> None:
    from src.calibration.reliability import save_diagram

    for line in lesson.lines():
        print(line)
    if lesson.calibrated and lesson.calibrated.learned.calibration:
        samples, unseen = lesson.samples, lesson.calibrated.unseen
        _plot(
            Path(f"{source.resolve().name}-reliability.png"),
            lambda file: save_diagram(samples.logits, unseen, samples.targets, file),
        )


def _try_preparations(draft: Draft, source: Path) -> None:
    from src.evaluation.preparations import cases, compare_preparations

    manifest = draft.manifest

    def prepared(spec: InputSpec) -> Pipeline:
        inside = (spec.mean, spec.std) == (manifest.input.mean, manifest.input.std)
        return _pipeline(draft, spec, runtime="auto" if inside else "torch")  # its program contains neither

    found = compare_preparations(prepared, manifest.input, cases(manifest, source))
    print(f"preprocessing {with_flags(str(found), found.best.remedies if found.best and found.beyond_chance else ())}")


def _check_explanations(draft: Draft, source: Path) -> dict[str, Any]:
    from src.evaluation.explanations import check_explanations
    from src.evaluation.preparations import all_cases, cases
    from src.labeled_folder import fingerprint
    from src.saving.randomize import randomized

    pipeline = _pipeline(draft)
    with randomized(draft.folder, draft.manifest) as chance:
        found = check_explanations(
            pipeline, replace(pipeline, runtime=chance), [file for file, _ in cases(draft.manifest, source)]
        )
    known = {"digest": fingerprint(file for file, _ in all_cases(draft.manifest, source))}
    if found is None:
        return known
    print(f"explanations  {found.table()}")
    return known | {"faithfulness": found.figures()}


def _pipeline(
    draft: Draft, prepared: InputSpec | None = None, runtime: RuntimeChoice = "auto", precision: Precision = "fp32"
) -> Pipeline:
    from src.pipeline import Pipeline
    from src.runtimes.select import start
    from src.stages.decode import DecodeLimits

    manifest = draft.manifest.model_copy(update={"input": prepared or draft.manifest.input})
    return Pipeline(
        manifest, start(draft.folder, manifest, threads=1, runtime=runtime, precision=precision), DecodeLimits()
    )


if __name__ == "__main__":
    sys.exit(main())

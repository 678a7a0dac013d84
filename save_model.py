#!/usr/bin/env python3
"""Put a trained classifier into the BentoML model store, verified and ready to serve."""

# Torch takes seconds to import and --help, --list, --if-missing and mistakes must not wait for it.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # bentoml reads it once, when it is imported

import bentoml
from bentoml.exceptions import BentoMLException, NotFound
from yaml import YAMLError

from src.errors import ModelError
from src.saving.options import check_that_all_is_used, given, parser, with_flags

if TYPE_CHECKING:
    import argparse

    from src.checkpoints.checkpoint import Checkpoint
    from src.conversion.draft import Draft
    from src.pipeline import Pipeline
    from src.runtimes.base import Precision
    from src.runtimes.select import RuntimeChoice
    from src.stages.input_spec import InputSpec

_EXIT_REFUSED: Final = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 where the model cannot be stored."""
    options = parser(__doc__).parse_args(arguments)
    try:
        if options.list:
            return _list()
        check_that_all_is_used(options)
        if options.if_missing and _is_stored(options.name):
            print(f"{options.name} is in the model store already.")
            return 0
        print(f"Reading, verifying and storing {options.checkpoint or 'the default network'} ...", flush=True)
        _save(options)
    except ModelError as exc:
        print(f"save_model.py: {with_flags(str(exc), exc.remedies)}", file=sys.stderr)
        return _EXIT_REFUSED
    return 0


def _list() -> int:
    try:
        stored = bentoml.models.list()
    except YAMLError as exc:
        raise ModelError(f"The model store holds a damaged entry, a model.yaml that cannot be read: {exc}.") from exc
    for model in sorted(stored, key=lambda model: model.info.creation_time, reverse=True):
        metadata: dict[str, Any] = model.info.metadata
        check = metadata.get("check", {})
        images = check.get("images", check.get("pictures"))  # the earlier name
        accuracy = f", {check['accuracy']:.2%} of {images} images right" if check else ""
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
    from src.saving.report import report
    from src.store import bundle

    bundle.check_free(options.name, options.version)
    checkpoints = [_checkpoint(options)]
    notes = checkpoints[0].notes
    with drafted(checkpoints.pop()) as draft:  # which alone keeps the network, as long as it needs it
        print(report(notes, draft))
        figures: dict[str, object] = {**draft.figures()}
        if options.check:
            figures["check"] = _check(draft, options.check)
        tag = bundle.store(draft.folder, draft.manifest, options.name, options.version, figures)
    print(f"stored        {tag}")


def _checkpoint(options: argparse.Namespace) -> Checkpoint:
    if options.checkpoint is None:
        from src.checkpoints.default import default_checkpoint

        return default_checkpoint()
    from src.checkpoints.checkpoint import read_checkpoint

    return read_checkpoint(options.checkpoint, given(options))


def _check(draft: Draft, source: Path) -> dict[str, Any]:
    """Try the model on labelled images; return the figures that the store keeps."""
    if draft.manifest.output.exclusive:
        figures = _check_folder(draft, source)
    else:
        from src.evaluation.multilabel import evaluate_table

        evaluation = evaluate_table(_pipeline(draft), source)
        print(evaluation.table())
        figures = evaluation.figures()
    _try_preparations(draft, source)
    return figures


def _check_folder(draft: Draft, folder: Path) -> dict[str, Any]:
    from src.evaluation.accuracy import evaluate, save_plot
    from src.evaluation.precision import measure_change

    exact, fast = _pipeline(draft), _pipeline(draft, precision="bf16")
    evaluation = evaluate(exact, folder)
    print(evaluation.table())
    if fast.runtime.precision == "bf16":  # not every CPU has it
        print(f"bf16          {measure_change(exact, fast, folder)}")
    plot = Path(f"{folder.resolve().name}-confusion.png")
    save_plot(evaluation, plot)
    print(f"plotted       {plot}")
    return evaluation.figures()


def _try_preparations(draft: Draft, source: Path) -> None:
    from src.evaluation.preparations import cases, compare_preparations

    manifest = draft.manifest

    def prepared(spec: InputSpec) -> Pipeline:
        inside = (spec.mean, spec.std) == (manifest.input.mean, manifest.input.std)
        return _pipeline(draft, spec, runtime="auto" if inside else "torch")  # whose program has neither in it

    found = compare_preparations(prepared, manifest.input, cases(manifest, source))
    print(f"preparation   {with_flags(str(found), found.best.remedies if found.best and found.beyond_chance else ())}")


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

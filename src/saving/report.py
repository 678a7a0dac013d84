"""Report what save_model.py inferred about a model, and how it verified it."""

from typing import Final

from src.checkpoints.given import Note
from src.conversion.draft import Draft
from src.errors import Remedy
from src.saving.options import with_flags
from src.stages.input_spec import InputSpec

__all__ = ["report"]

_PREPARATION: Final = tuple(map(Remedy, ("resize", "crop", "mean", "std", "interpolation")))
_MEANING: Final[dict[str, tuple[str, tuple[Remedy, ...]]]] = {
    "softmax": (
        "softmax: the classes exclude each other; override it if yours do not",
        (Remedy("output", "multilabel"),),
    ),
    "binary": ("binary: one of two classes, by a sigmoid", ()),
    "multilabel": ("multi-label: each class on its own, by a sigmoid", ()),
}


def report(notes: tuple[Note, ...], draft: Draft) -> str:
    """Return the lines that report what was inferred, and how the model was verified."""
    manifest, checked = draft.manifest, draft.verification
    labels = ", ".join(manifest.labels[:3]) + (", ..." if len(manifest.labels) > 3 else "")  # noqa: PLR2004 - the same 3
    return "\n".join(
        (
            *(f"note          {with_flags(note.sentence, note.remedies)}" for note in notes),
            *_cut_off(draft),
            f"architecture  {manifest.architecture}, explained at {manifest.layer}",
            f"classes       {len(manifest.labels)}: {labels}",
            f"preprocessing {with_flags(_prepared(manifest.input), _PREPARATION)}",
            f"output        {with_flags(*_MEANING[manifest.output.kind])}",
            f"size          {draft.size_bytes / 1e6:.1f} MB",
            "verified      all tensors are present and have the right shape; the logits are finite;",
            f"              those of the captured graph differ by at most {checked.captured:.1g},",
            f"              those from the features of the Grad-CAM layer by at most {checked.cut:.1g}",
            f"runs in       {_runtime(draft)}",
        )
    )


def _prepared(spec: InputSpec) -> str:
    """Describe the preprocessing, and say what to do if that of the training was different."""
    height, width = spec.crop
    if isinstance(spec.resize, int):
        resized = f"shorter side resized to {spec.resize}, center-cropped to {width} x {height}"
    else:
        rows, columns = spec.resize
        resized = f"stretched to {columns} x {rows}"
        resized += "" if spec.resize == spec.crop else f", center-cropped to {width} x {height}"
    mean, std = (",".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    gray = "converted to gray, " if spec.channels == 1 else ""
    plain = "values from 0 to 1, no Normalize" if {*spec.mean} == {0} and {*spec.std} == {1} else ""
    values = plain or f"mean {mean}, std {std}"
    return f"{gray}{resized} ({spec.interpolation}), {values};\n              override it if your training differed"


def _cut_off(draft: Draft) -> list[str]:
    if draft.made is None:
        return []
    kind = draft.manifest.output.kind
    return [f"note          the final {draft.made} is cut off, so that the scores before it are explained ({kind})"]


def _runtime(draft: Draft) -> str:
    manifest, agreement = draft.manifest, draft.agreement
    what = f"torch, even on a CPU: {manifest.note}" if manifest.note else "OpenVINO on a CPU, without torch"
    how = "in closed form" if manifest.head == "closed_form" else "by the gradient of its head"
    how += ", exactly" if manifest.exact else ""
    return (
        f"{what}; explained {how};\n"
        f"              from the network's own answers, probabilities differ by at most {agreement.probability:.1g},"
        f" heatmaps by {agreement.heat:.1g}"
    )

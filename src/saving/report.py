"""What save_model.py says of a model that it stores."""

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
        "softmax: the classes exclude each other; if yours do not, say so",
        (Remedy("output", "multilabel"),),
    ),
    "binary": ("binary: one of two classes, by a sigmoid", ()),
    "multilabel": ("multi-label: each class on its own, by a sigmoid", ()),
}


def report(notes: tuple[Note, ...], draft: Draft) -> str:
    """Return the lines that say what was found out, and how the model was verified."""
    manifest, checked = draft.manifest, draft.verification
    labels = ", ".join(manifest.labels[:3]) + (", ..." if len(manifest.labels) > 3 else "")  # noqa: PLR2004 - of these
    return "\n".join(
        (
            *(f"found         {with_flags(note.sentence, note.remedies)}" for note in notes),
            *_cut_off(draft),
            f"architecture  {manifest.architecture}, explained at {manifest.layer}",
            f"classes       {len(manifest.labels)}: {labels}",
            f"prepared      {with_flags(_prepared(manifest.input), _PREPARATION)}",
            f"output        {with_flags(*_MEANING[manifest.output.kind])}",
            f"size          {draft.size_bytes / 1e6:.1f} MB",
            "verified      every tensor is there and has the right shape; the logits are finite;",
            f"              captured as a graph they differ by at most {checked.captured:.1g},",
            f"              behind the Grad-CAM layer by at most {checked.cut:.1g}",
            f"runs in       {_runtime(draft)}",
        )
    )


def _prepared(spec: InputSpec) -> str:
    """Say in words how images are prepared, and what to do where the training did otherwise."""
    height, width = spec.crop
    if isinstance(spec.resize, int):
        resized = f"the shorter side resized to {spec.resize}, the center {width} x {height} cropped"
    else:
        rows, columns = spec.resize
        resized = f"stretched to {columns} x {rows}"
        resized += "" if spec.resize == spec.crop else f", the center {width} x {height} cropped"
    mean, std = (",".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    gray = "made gray, " if spec.channels == 1 else ""
    plain = "values from 0 to 1, no Normalize" if {*spec.mean} == {0} and {*spec.std} == {1} else ""
    values = plain or f"mean {mean}, std {std}"
    return f"{gray}{resized} ({spec.interpolation}), {values};\n              if your training did otherwise, say how"


def _cut_off(draft: Draft) -> list[str]:
    if draft.made is None:
        return []
    kind = draft.manifest.output.kind
    return [f"found         probabilities made by {draft.made}: it is cut off, to explain the scores ({kind})"]


def _runtime(draft: Draft) -> str:
    manifest, agreement = draft.manifest, draft.agreement
    what = f"torch, on a CPU too: {manifest.note}" if manifest.note else "OpenVINO on a CPU, without torch"
    how = "in closed form" if manifest.head == "closed_form" else "by the gradient of its head"
    how += ", exactly" if manifest.exact else ""
    return (
        f"{what}; explained {how}; what was written\n"
        f"              answers as the network did: probabilities differ by at most {agreement.probability:.1g},"
        f" heatmaps by {agreement.heat:.1g}"
    )

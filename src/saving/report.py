"""What save_model.py says of a model that it stores."""

from src.checkpoints.given import Note
from src.conversion.draft import Draft
from src.saving.options import with_flags

__all__ = ["report"]


def report(notes: tuple[Note, ...], draft: Draft) -> str:
    """Return the lines that say what was found out, and how the model was verified."""
    manifest, checked = draft.manifest, draft.verification
    height, width = manifest.input.crop
    labels = ", ".join(manifest.labels[:3]) + (", ..." if len(manifest.labels) > 3 else "")  # noqa: PLR2004 - of these
    return "\n".join(
        (
            *(f"found         {with_flags(note.sentence, note.remedies)}" for note in notes),
            f"architecture  {manifest.architecture}, explained at {manifest.layer}",
            f"classes       {len(manifest.labels)}: {labels}",
            f"input         {width} x {height} pixels of an image resized to {manifest.input.resize}",
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

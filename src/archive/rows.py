"""Turn each answer into a row of a Parquet file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from src.archive.reading import Refusal
from src.pipeline import Recognition

__all__ = ["SCHEMA", "Answer", "table"]

_HEATMAP: Final = pa.list_(pa.list_(pa.float32()))
_CLASS: Final = [("class", pa.string()), ("index", pa.int32()), ("percent", pa.float64()), ("heatmap", _HEATMAP)]
SCHEMA: Final = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        ("sha256", pa.string()),
        ("label", pa.string()),
        ("top", pa.list_(pa.struct(_CLASS))),
        ("other", pa.float64()),
        ("results", pa.list_(pa.string())),
        ("familiar", pa.bool_()),
        ("set", pa.list_(pa.string())),
        ("coverage", pa.int32()),
        ("targets", pa.list_(pa.struct(_CLASS))),
        ("box", pa.list_(pa.float64(), 4)),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("heatmap_file", pa.string()),
        ("model", pa.string()),
        ("duplicate_of", pa.string()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("seconds", pa.float32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Outcome for the image at ``path``: a recognition, a refusal, or, for a duplicate, the path of the first image.

    ``seconds`` is the time from the image's bytes to the recognition; ``heatmap_file`` is the path in the output of
    the image with the heatmap drawn on it, if there is one.
    """

    path: str
    sha256: str | None
    outcome: Recognition | Refusal | str
    seconds: float
    heatmap_file: str | None = None


def table(answers: Sequence[Answer], model: str) -> pa.Table:
    """Return the ``answers`` of the model with the tag ``model`` as a table with one row each."""
    return pa.Table.from_pylist([_row(answer, model) for answer in answers], SCHEMA)


def _row(answer: Answer, model: str) -> dict[str, Any]:
    """Return the columns of ``answer`` that are not null."""
    row = {
        "path": answer.path,
        "sha256": answer.sha256,
        "model": model,
        "seconds": answer.seconds,
        "heatmap_file": answer.heatmap_file,
    }
    match answer.outcome:
        case Refusal(code, message):
            return row | {"error_code": code, "error_message": message}
        case str(first):
            return row | {"duplicate_of": first}
        case recognition:
            return row | _columns(recognition)


def _columns(recognition: Recognition) -> dict[str, Any]:
    prediction, box = recognition.prediction, recognition.box
    classes = [
        {"class": score.label, "index": score.index, "percent": score.percent}
        for score in (*prediction.top, *recognition.also)
    ]
    for one, heatmap in zip(classes, recognition.heatmaps, strict=False):  # heatmaps of all classes, or none
        one["heatmap"] = heatmap.tolist()
    listed, sure = len(prediction.top), recognition.confidence
    return {
        "label": prediction.top[0].label,
        "top": classes[:listed],
        "other": prediction.other,
        "results": prediction.seen,
        "familiar": sure and sure.familiar,
        "set": sure and sure.labels,
        "coverage": sure and sure.coverage,
        "targets": classes[listed:],
        "box": [box.x0, box.y0, box.x1, box.y1],
        "width": recognition.width,
        "height": recognition.height,
    }

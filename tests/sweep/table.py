"""The table of the sweep, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["table"]

_HEAD = """\
# Every architecture

`python -m tests.sweep` captures, cuts, explains, stores and serves each of these networks with random weights, and
compares it with the untouched network: *logits* is the largest difference of the captured graph's, *heatmap* that of
Grad-CAM through the captured head from a backward pass through the whole network (both in torch), *stored* that of what
was written, in the runtime that serves it, in a probability or a value of a heatmap. *Seconds* are those of all of it.

"""
_COLUMNS = ("network", "layer", "maps", "logits", "heatmap", "stored", "explained by", "served by", "seconds")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a row for each network, and before them how many there are of each kind."""
    lines = [_line(row) for row in rows]
    return _HEAD + _summary(rows) + "\n\n" + "\n".join([_joined(_COLUMNS), "|---" * len(_COLUMNS) + "|", *lines]) + "\n"


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    served = [row["served"] for row in rows if "served" in row]
    refused = [row for row in rows if "refused" in row]
    return (
        f"{len(rows)} networks: {served.count('openvino')} are served without torch, {served.count('torch')} with it,"
        f" {len(refused)} have no Grad-CAM and are refused, {len(rows) - len(served) - len(refused)} are not stored."
    )


def _line(row: Mapping[str, Any]) -> str:
    if "failed" in row or "refused" in row:
        return _joined((row["architecture"], row.get("failed") or row["refused"], *[""] * (len(_COLUMNS) - 2)))
    served = row.get("served", "not stored") + (f": {row['note']}" if row.get("note") else "")
    figures = [f"{row[name]:.0e}" if row.get(name) else "0" for name in ("logits", "heatmap")]
    stored = f"{row['stored']:.0e}" if "stored" in row else ""
    explained = row.get("head", "").replace("_", " ")
    return _joined(
        (row["architecture"], row["layer"], row["maps"], *figures, stored, explained, served, row["seconds"])
    )


def _joined(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"

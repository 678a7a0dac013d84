"""The table of the sweep, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["table"]

_HEAD = """\
# Every architecture

`python -m tests.sweep` captures, cuts, explains, stores and serves each of these networks with random weights, and
compares it with the original network. Three columns are largest differences: *logits* between the captured graph and
the network, *heatmap* between Grad-CAM through the captured head and a backward pass through the whole network (both in
torch), *stored* between the serving runtime and torch, in a probability or a heatmap value. *Seconds* is for all steps.

"""
_COLUMNS = ("network", "layer", "maps", "logits", "heatmap", "stored", "explained by", "served by", "seconds")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a row for each network, after a count of each result."""
    lines = [_line(row) for row in rows]
    return _HEAD + _summary(rows) + "\n\n" + "\n".join([_joined(_COLUMNS), "|---" * len(_COLUMNS) + "|", *lines]) + "\n"


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    served = [row["served"] for row in rows if "served" in row]
    refused, failed = ([row for row in rows if kind in row] for kind in ("refused", "failed"))
    return (
        f"{len(rows)} networks: {served.count('openvino')} served without torch, {served.count('torch')} with it,"
        f" {len(refused)} refused because Grad-CAM cannot explain them,"
        f" {len(rows) - len(served) - len(refused) - len(failed)} not stored, {len(failed)} failed."
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

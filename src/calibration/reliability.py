"""Plot a reliability diagram: how often answers with each percentage are right."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.calibration.temperature import RANGES, reliability
from src.stages.output_spec import OutputSpec

__all__ = ["save_diagram"]


def save_diagram(
    logits: NDArray[np.float32], unseen: NDArray[np.float32], targets: NDArray[np.int64], file: Path
) -> None:
    """Plot a reliability diagram of the ``logits`` (N, C), and of ``unseen``, which are divided by a temperature."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes a second, which a stopped training need not wait for

    plain = OutputSpec()
    mean, share, count = reliability(unseen, targets, plain)
    before_mean, before_share, before_count = reliability(logits, targets, plain)
    figure = Figure(figsize=(5, 6), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    left = np.arange(RANGES) / RANGES
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--", label="perfect calibration")
    axes.bar(left, share, width=1 / RANGES, align="edge", edgecolor="white", alpha=0.4, label="calibrated, by range")
    axes.plot(mean[count > 0], share[count > 0], marker="o", label="calibrated")
    some = before_count > 0
    axes.plot(before_mean[some], before_share[some], marker="x", label="before", color="tab:red")
    axes.set(ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    counts.bar(left, count, width=1 / RANGES, align="edge", edgecolor="white")
    counts.set(xlabel="probability of the most likely class", ylabel="images")
    figure.savefig(file, dpi=120)

"""Format the result of a calibration for the terminal."""

from collections.abc import Iterator

from src.calibration.calibrate import Calibrated
from src.calibration.samples import Samples

__all__ = ["lines"]


def lines(calibrated: Calibrated, samples: Samples) -> Iterator[str]:
    """Yield what was learned from ``samples``, and what would have needed more of them.

    Each figure is measured on images that were not used for fitting.
    """
    learned = calibrated.learned
    if figures := learned.calibration:
        right = float((samples.logits.argmax(axis=1) == samples.targets).mean())
        temperature = f"{calibrated.output.temperature:.3g}"
        yield f"calibration   {right:.2%} of {learned.images} images are right; temperature {temperature} changes the"
        yield f"              calibration error from {figures.error_before:.2%} to {figures.error_after:.2%}"
    if sets := learned.sets:
        yield f"sets          {sets.measured:.2%} contain the right class ({sets.coverage} % requested), and on average"
        yield f"              {sets.mean_size:.2f} classes"
    if familiarity := learned.familiarity:
        yield f"familiar      {1 - familiarity.false_alarms:.2%} of the images"
    for remark in calibrated.remarks:
        yield f"not learned   {remark}"

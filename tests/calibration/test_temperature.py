"""The temperature and the calibration error."""

import numpy as np
import pytest
from numpy.typing import NDArray

from src.calibration.temperature import calibration_error, fit_temperature, reliability
from src.stages.output_spec import OutputSpec

PLAIN = OutputSpec()


def overconfident(
    rng: np.random.Generator, images: int, factor: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return logits (N, 4), ``factor`` times those from which the classes were drawn, and the classes."""
    logits = rng.normal(0, 1.5, (images, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (shares.cumsum(axis=1) < rng.random((images, 1))).sum(axis=1)
    return (factor * logits).astype(np.float32), targets


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_factor_by_which_logits_are_too_large_is_fitted(factor: float, rng: np.random.Generator) -> None:
    """With the fitted temperature, the calibration error is below two percent; the order of classes does not change."""
    logits, targets = overconfident(rng, 8000, factor)
    output = PLAIN.model_copy(update={"temperature": fit_temperature(logits, targets)})
    assert output.temperature == pytest.approx(factor, rel=0.04)
    assert calibration_error(logits, targets, output) < 0.02
    if factor != 1:
        assert calibration_error(logits, targets, PLAIN) > 0.1
    np.testing.assert_array_equal(output.percents(logits).argsort(axis=1), PLAIN.percents(logits).argsort(axis=1))


def test_no_other_temperature_has_a_smaller_loss(rng: np.random.Generator) -> None:
    """None of a thousand temperatures has a smaller loss than the fitted one."""
    logits, targets = overconfident(rng, 60, 2.5)

    def loss(temperature: float) -> float:
        shares = np.exp(logits.astype(float) / temperature)
        likely = shares[np.arange(60), targets] / shares.sum(axis=1)
        return float(np.log(temperature) ** 2 / 2 - np.log(likely).sum())

    fitted = fit_temperature(logits, targets)
    assert loss(fitted) <= min(map(loss, np.geomspace(0.05, 20, 1000))) + 1e-9


def test_a_few_images_that_are_all_right_do_not_make_answers_certain() -> None:
    """If no image is wrong, the temperature stays near 1 instead of approaching 0."""
    logits = np.tile(np.array([6, 0], np.float32), (50, 1))
    assert 0.6 < fit_temperature(logits, np.zeros(50, np.int64)) <= 1


def test_the_error_is_the_mean_difference_of_probability_and_accuracy(rng: np.random.Generator) -> None:
    """It matches a loop over fifteen ranges of the highest probability."""
    logits, targets = overconfident(rng, 500, 3)
    likely = PLAIN.percents(logits).max(axis=1) / 100
    right = logits.argmax(axis=1) == targets
    expected = 0.0
    for lower in range(15):
        inside = (likely >= lower / 15) & ((likely < (lower + 1) / 15) | (lower == 14))
        if inside.any():
            expected += inside.mean() * abs(likely[inside].mean() - right[inside].mean())
    assert calibration_error(logits, targets, PLAIN) == pytest.approx(expected)
    assert reliability(logits, targets, PLAIN)[2].sum() == 500


def test_certainty_lies_in_the_last_range() -> None:
    """A probability of exactly 1 counts among the highest."""
    mean, share, count = reliability(np.array([[900, 0], [900, 0]], np.float32), np.array([0, 1]), PLAIN)
    assert (mean[-1], share[-1], count[-1]) == (1, 0.5, 2)
